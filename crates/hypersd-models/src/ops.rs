//! The operations seam: what the networks compute with, and the only place that picks an implementation for a
//! backend.
//!
//! Networks pass tensors and the parameter holders of `burn::nn`; they never call a holder's `forward` and know
//! nothing of backends. Arguments are taken by value, so that an implementation may write into a tensor that
//! nobody else holds.

mod attention;
mod backend;
mod causal;
mod norm;
mod resample;

pub use attention::attention;
pub use causal::causal_attention;
pub use norm::{group_norm, group_norm_silu, layer_norm};
pub use resample::{upsample, upsample_to};

use burn::{
    nn::{Linear, conv::Conv2d},
    tensor::{Tensor, activation},
};

/// A dense layer.
///
/// # Shapes
/// - x `[.., d_in]` → `[.., d_out]`
#[must_use]
pub fn linear<const D: usize>(x: Tensor<D>, layer: &Linear) -> Tensor<D> {
    layer.forward(x)
}

/// A convolution with the holder's stride and padding.
///
/// # Shapes
/// - x `[B, c_in, H, W]` → `[B, c_out, H', W']`
#[must_use]
pub fn conv2d(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    layer.forward(x)
}

/// `x · sigmoid(x)`.
#[must_use]
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::silu(x)
}

/// `x · Φ(x)`, with the exact Φ.
#[must_use]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// `x · sigmoid(1.702 x)`, OpenAI's approximation of [`gelu`].
#[must_use]
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * activation::sigmoid(x * 1.702)
}

/// `max(x, 0)`.
#[must_use]
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x)
}

/// The gated unit of the feed-forward: one dense layer gives values and gates, `value · GELU(gate)` comes out
/// (Shazeer 2020, arXiv:2002.05202). The values are the first half; GELU is the exact one, by erf.
///
/// # Shapes
/// - x `[B, S, d_in]`, proj `d_in → 2·d` → `[B, S, d]`
#[must_use]
pub fn geglu(x: Tensor<3>, proj: &Linear) -> Tensor<3> {
    let x = linear(x, proj);
    let d = x.dims()[2] / 2;
    let gate = x.clone().narrow(2, d, d);
    activation::gelu(gate) * x.narrow(2, 0, d)
}

/// The sum of two tensors of the same shape. Give the one that nobody else holds first.
#[must_use]
pub fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    x + y
}

/// Adds one number to every pixel of a channel.
///
/// # Shapes
/// - x `[B, C, H, W]`, bias `[B, C]` → `[B, C, H, W]`
#[must_use]
pub fn add_per_channel(x: Tensor<4>, bias: Tensor<2>) -> Tensor<4> {
    let [b, c] = bias.dims();
    x + bias.reshape([b, c, 1, 1])
}
