//! The operations seam: what the networks compute with, and the only place that picks an implementation for a
//! backend.
//!
//! Networks pass tensors and the holders of their weights ([`Linear`], [`Conv2d`], and Burn's norms); they never call a
//! holder's `forward` and know nothing of backends. Arguments are taken by value, so that an implementation may write into a tensor that
//! nobody else holds.
//!
//! On the CPU (Burn's flex backend) in f32 the kernels of `hypersd-kernels` compute, and on GPUs the few of `ops/gpu` where
//! Burn would take many launches or much memory; everywhere else Burn's own operations do. What is added to a result can be given along with it, because the kernels add it on their way out.
//!
//! A network brings its inputs to the type that is computed in beside its weights ([`activation_dtype`](crate::activation_dtype)) and leaves types
//! alone from there on: f32 on the CPU, where weights may be stored in half precision, and the weights' own elsewhere.

mod attention;
mod causal;
#[cfg(feature = "flex")]
mod cpu;
mod device;
#[cfg(feature = "gpu")]
mod gpu;
mod join;
mod norm;
mod resample;

pub use attention::attention;
pub(crate) use attention::attention_of;
pub use causal::causal_attention;
pub(crate) use device::in_pool;
pub use device::{held_memory, release_memory};
pub(crate) use join::{Joined, conv2d_joined};
pub(crate) use norm::group_norm_silu_joined;
pub use norm::{group_norm, group_norm_silu, layer_norm};
pub use resample::upsample_conv2d;

use burn::{
    module::Param,
    tensor::{DType, Tensor, activation, module, ops::ConvOptions},
};
#[cfg(feature = "flex")]
use hypersd_kernels::Activation;

pub use crate::weights::{Conv2d, Linear};

/// A dense layer.
///
/// # Shapes
/// - x `[.., d_in]` → `[.., d_out]`
#[must_use]
pub fn linear<const D: usize>(x: Tensor<D>, layer: &Linear) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::linear(x, layer, None);
    }
    burns_linear(x, layer)
}

/// [`linear`] plus a tensor of the shape of its result.
///
/// # Shapes
/// - x `[.., d_in]`, residual `[.., d_out]` → `[.., d_out]`
#[must_use]
pub fn linear_add<const D: usize>(x: Tensor<D>, layer: &Linear, residual: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::linear(x, layer, Some(residual));
    }
    burns_linear(x, layer) + residual
}

/// A convolution with the layer's stride and padding.
///
/// # Shapes
/// - x `[B, c_in, H, W]` → `[B, c_out, H', W']`
#[must_use]
pub fn conv2d(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::conv2d(x, None, layer, None, None);
    }
    burns_conv2d(x, layer)
}

/// [`conv2d`] plus one number for every channel: the time embedding.
///
/// # Shapes
/// - x `[B, c_in, H, W]`, shift `[B, c_out]` → `[B, c_out, H', W']`
#[must_use]
pub fn conv2d_shift(x: Tensor<4>, layer: &Conv2d, shift: Tensor<2>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::conv2d(x, None, layer, Some(shift), None);
    }
    let [b, c] = shift.dims();
    burns_conv2d(x, layer) + shift.reshape([b, c, 1, 1])
}

/// [`conv2d`] plus a tensor of the shape of its result: the shortcut.
///
/// # Shapes
/// - x `[B, c_in, H, W]`, residual `[B, c_out, H', W']` → `[B, c_out, H', W']`
#[must_use]
pub fn conv2d_add(x: Tensor<4>, layer: &Conv2d, residual: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::conv2d(x, None, layer, None, Some(residual));
    }
    burns_conv2d(x, layer) + residual
}

/// Burn's dense layer, which wants the weights in the type of the features.
fn burns_linear<const D: usize>(x: Tensor<D>, layer: &Linear) -> Tensor<D> {
    let dtype = x.dtype();
    module::linear(x, layer.weight.tensor(dtype), in_type(layer.bias.as_ref(), dtype))
}

/// Burn's convolution, which wants the weights in the type of the image.
fn burns_conv2d(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let dtype = x.dtype();
    let options = ConvOptions::new_with_padding([layer.stride; 2], layer.padding, [1, 1], 1);
    module::conv2d(x, layer.weight.tensor(dtype), in_type(layer.bias.as_ref(), dtype), options)
}

fn in_type(bias: Option<&Param<Tensor<1>>>, dtype: DType) -> Option<Tensor<1>> {
    bias.map(|bias| bias.val().cast(dtype))
}

/// `x · sigmoid(x)`.
#[must_use]
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::activate(x, Activation::Silu);
    }
    activation::silu(x)
}

/// `x · Φ(x)`, with the exact Φ.
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::activate(x, Activation::Gelu);
    }
    activation::gelu(x)
}

/// `x · sigmoid(1.702 x)`, OpenAI's approximation of [`gelu`].
#[must_use]
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::activate(x, Activation::QuickGelu);
    }
    x.clone() * activation::sigmoid(x * 1.702)
}

/// `max(x, 0)`.
#[must_use]
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::activate(x, Activation::Relu);
    }
    activation::relu(x)
}

/// A feed-forward with a gated unit (Shazeer 2020, arXiv:2002.05202): one dense layer gives values and gates, another
/// one takes `value · GELU(gate)`, and its result is added to a tensor. The values are the first half; GELU is the exact
/// one, by erf.
///
/// # Shapes
/// - x `[B, S, d_in]`, proj `d_in → 2·d`, out `d → d_out`, residual `[B, S, d_out]` → `[B, S, d_out]`
#[must_use]
pub fn feed_forward(x: Tensor<3>, proj: &Linear, out: &Linear, residual: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::feed_forward(x, proj, out, residual);
    }
    linear_add(gated(linear(x, proj)), out, residual)
}

/// `value · GELU(gate)`, the values first.
///
/// # Shapes
/// - x `[B, S, 2·d]` → `[B, S, d]`
fn gated(x: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "gpu")]
    if gpu::takes(&x) {
        return gpu::gated(x);
    }
    let d = x.dims()[2] / 2;
    let gate = x.clone().narrow(2, d, d);
    activation::gelu(gate) * x.narrow(2, 0, d)
}

/// The sum of two tensors of the same shape. Give the one that nobody else holds first.
#[must_use]
pub fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    x + y
}
