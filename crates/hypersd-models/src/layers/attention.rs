//! Multi-head attention over token sequences.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;

use crate::{
    layers::{Linear, context::Context},
    ops,
};

/// Attention from tokens to a context; to themselves where the context is the tokens (diffusers' `Attention`).
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
    heads: usize,
}

slots!(Attention { to_q, to_k, to_v, to_out; heads });

impl Attention {
    /// For tokens of `width` features, split over `heads`, and a context of `context_width` features.
    pub(crate) fn new(width: usize, context_width: usize, heads: usize, device: &Device) -> Self {
        let project = |d_in| Linear::new(d_in, width, device).without_bias();
        Self {
            to_q: project(width),
            to_k: project(context_width),
            to_v: project(context_width),
            to_out: [Linear::new(width, width, device)],
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
        ops::linear_add(ops::attention_of(q, k, v, self.heads, &self.to_q), &self.to_out[0], residual)
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
