//! Normalisations.

use burn::{
    nn::{GroupNorm, LayerNorm},
    tensor::Tensor,
};

use super::silu;

/// Group normalisation (Wu & He 2018, arXiv:1803.08494).
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, H, W]`
#[must_use]
pub fn group_norm(x: Tensor<4>, layer: &GroupNorm) -> Tensor<4> {
    layer.forward(x)
}

/// [`group_norm`], then SiLU: what stands before almost every convolution.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, H, W]`
#[must_use]
pub fn group_norm_silu(x: Tensor<4>, layer: &GroupNorm) -> Tensor<4> {
    silu(group_norm(x, layer))
}

/// Layer normalisation over the last dimension.
///
/// # Shapes
/// - x `[.., C]` → `[.., C]`
#[must_use]
pub fn layer_norm<const D: usize>(x: Tensor<D>, layer: &LayerNorm) -> Tensor<D> {
    layer.forward(x)
}
