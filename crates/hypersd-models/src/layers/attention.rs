//! Multi-head attention over token sequences.

use burn::{module::Module, nn::Linear, tensor::Device, tensor::Tensor};

use crate::{
    layers::{context::Context, linear},
    ops,
};

/// Attention from tokens to a context; to themselves where the context is the tokens (diffusers' `Attention`).
#[derive(Module, Debug)]
pub(crate) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
    heads: usize,
}

impl Attention {
    /// For tokens of `width` features, split over `heads`, and a context of `context_width` features.
    pub(crate) fn new(width: usize, context_width: usize, heads: usize, device: &Device) -> Self {
        Self {
            to_q: linear(width, width, false, device),
            to_k: linear(context_width, width, false, device),
            to_v: linear(context_width, width, false, device),
            to_out: [linear(width, width, true, device)],
            heads,
        }
    }

    /// What the tokens take from the context, added to `residual`.
    ///
    /// # Shapes
    /// - x and residual `[B, S, width]`, context `[B, T, context_width]` → `[B, S, width]`
    pub(crate) fn forward(&self, x: Tensor<3>, context: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let k = ops::linear(context.clone(), &self.to_k);
        let v = ops::linear(context, &self.to_v);
        let q = ops::linear(x, &self.to_q);
        ops::linear_add(ops::attention(q, k, v, self.heads), &self.to_out[0], residual)
    }

    /// Cross-attention: what the tokens take from all that a context holds, added to `residual`.
    ///
    /// # Shapes
    /// - x and residual `[B, S, width]` → `[B, S, width]`
    pub(crate) fn forward_context(&self, x: Tensor<3>, context: &Context, residual: Tensor<3>) -> Tensor<3> {
        let Context { text } = context; // all of it by name: what a context comes to hold must not be missed here
        self.forward(x, text.clone(), residual)
    }
}
