//! Classifier-free guidance: a batch of two, or none at all.

use burn::tensor::{FloatDType, Tensor};
use hypersd_models::unet::{Conditioning, UNet};

use crate::Error;

/// The UNet's condition together with the guidance scale that reads it.
pub(crate) struct Guided {
    /// The prompt's condition for the whole batch; with guidance the negative prompt's stands before it.
    condition: Conditioning,
    scale: Option<f32>,
}

impl Guided {
    /// Whether a guidance scale asks for an unconditional pass: only above 1, as in diffusers, where 0 and 1 mean
    /// the same.
    pub(crate) fn wanted(scale: f64) -> bool {
        scale > 1.0
    }

    /// One pass with the prompt's condition only.
    pub(crate) fn none(condition: Conditioning) -> Self {
        Self { condition, scale: None }
    }

    /// One pass over a doubled batch: the negative prompt's half first, the prompt's second.
    pub(crate) fn scaled(negative_then_positive: Conditioning, scale: f64) -> Self {
        Self { condition: negative_then_positive, scale: Some(scale as f32) }
    }

    /// The UNet's output for `x` `[B, 4, h, w]` at timestep `t`: `u + scale · (c − u)`, in f32.
    pub(crate) fn predict(&self, unet: &UNet, x: Tensor<4>, t: f32) -> Result<Tensor<4>, Error> {
        let Some(scale) = self.scale else {
            return Ok(unet.forward(x, &[t], &self.condition, None)?.cast(FloatDType::F32));
        };
        let out = unet.forward(Tensor::cat(vec![x.clone(), x], 0), &[t], &self.condition, None)?;
        let [u, c] = halves(out.cast(FloatDType::F32));
        Ok(u.clone() + (c - u).mul_scalar(scale))
    }
}

/// Splits `[2B, …]` into its two halves of `B`.
fn halves(x: Tensor<4>) -> [Tensor<4>; 2] {
    let b = x.dims()[0] / 2;
    [x.clone().narrow(0, 0, b), x.narrow(0, b, b)]
}
