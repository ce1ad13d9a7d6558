//! Normalisations.

use burn::{
    module::Param,
    nn::{GroupNorm, LayerNorm},
    tensor::{FloatDType, Tensor},
};

#[cfg(feature = "flex")]
use hypersd_kernels::Activation;

#[cfg(feature = "flex")]
use super::cpu;
#[cfg(feature = "gpu")]
use super::gpu;
use super::{Joined, silu};

/// Group normalisation (Wu & He 2018, arXiv:1803.08494), in f32 whatever the type of the tensor: neither the squares
/// of f16 nor the sums of bf16 can be relied upon.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, H, W]`
///
/// # Panics
/// If the holder has no gamma or no beta; those of these networks have both.
#[must_use]
pub fn group_norm(x: Tensor<4>, layer: &GroupNorm) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::group_norm(x, None, layer, Activation::Identity);
    }
    #[cfg(feature = "gpu")]
    if gpu::takes(&x) {
        return gpu::group_norm(x, layer, false);
    }
    let dtype: FloatDType = x.dtype().into();
    let [b, c, h, w] = x.dims();
    let (groups, per_group) = (layer.num_groups, c / layer.num_groups);
    let affine = [&layer.gamma, &layer.beta].map(|parameter| {
        let parameter = parameter.as_ref().expect("a group norm with gamma and beta").val();
        parameter.cast(FloatDType::F32).reshape([1, groups, per_group])
    });
    let [gamma, beta] = affine;

    let x = x.cast(FloatDType::F32).reshape([b, groups, per_group * h * w]);
    let mean = x.clone().mean_dim(2);
    let x = x - mean;
    let variance = x.clone().square().mean_dim(2); // [B, groups, 1]
    let scale = gamma * (variance + layer.epsilon).sqrt().recip(); // [B, groups, C / groups]
    let x = x.reshape([b, c, h * w]) * scale.reshape([b, c, 1]) + beta.reshape([1, c, 1]);
    x.reshape([b, c, h, w]).cast(dtype)
}

/// [`group_norm`], then SiLU: what stands before almost every convolution.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, H, W]`
#[must_use]
pub fn group_norm_silu(x: Tensor<4>, layer: &GroupNorm) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::group_norm(x, None, layer, Activation::Silu);
    }
    #[cfg(feature = "gpu")]
    if gpu::takes(&x) {
        return gpu::group_norm(x, layer, true);
    }
    silu(group_norm(x, layer))
}

/// [`group_norm_silu`] of joined feature maps.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, H, W]`
pub(crate) fn group_norm_silu_joined(x: Joined, layer: &GroupNorm) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x.x) {
        return cpu::group_norm(x.x, x.skip, layer, Activation::Silu);
    }
    group_norm_silu(x.whole(), layer)
}

/// Layer normalisation over the last dimension.
///
/// # Shapes
/// - x `[.., C]` → `[.., C]`
#[must_use]
pub fn layer_norm<const D: usize>(x: Tensor<D>, layer: &LayerNorm) -> Tensor<D> {
    if layer.gamma.val().dtype() == x.dtype() {
        return layer.forward(x);
    }
    let in_type =
        |parameter: &Param<Tensor<1>>| Param::initialized(parameter.id, parameter.val().cast(x.dtype()));
    let mut layer = layer.clone();
    layer.gamma = in_type(&layer.gamma);
    layer.beta = layer.beta.as_ref().map(in_type);
    layer.forward(x)
}
