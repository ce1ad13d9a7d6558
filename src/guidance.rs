//! Classifier-free guidance: a batch of two, or none at all.

use burn::tensor::{FloatDType, Tensor};
use hypersd_models::unet::{Conditioning, Residuals, UNet};

use crate::Error;

/// The UNet's condition, and the guidance scale that reads it.
pub(crate) struct Guided {
    /// The prompt's condition for the whole batch.
    positive: Conditioning,
    /// With guidance: the negative prompt's condition with the prompt's after it, and the scale.
    scaled: Option<(Conditioning, f32)>,
}

impl Guided {
    /// Whether a guidance scale asks for an unconditional pass: only above 1, as in diffusers, where 0 and 1 mean
    /// the same.
    pub(crate) fn wanted(scale: f64) -> bool {
        scale > 1.0
    }

    /// One pass with the prompt's condition only.
    pub(crate) fn none(positive: Conditioning) -> Self {
        Self { positive, scaled: None }
    }

    /// One pass over a doubled batch: the negative prompt's half first, the prompt's second.
    ///
    /// # Errors
    /// [`Error::Model`] for conditions of two networks.
    pub(crate) fn scaled(negative: Conditioning, positive: Conditioning, scale: f64) -> Result<Self, Error> {
        let both = negative.cat(positive.clone())?;
        Ok(Self { positive, scaled: Some((both, scale as f32)) })
    }

    /// Whether the batch is doubled.
    pub(crate) fn doubles(&self) -> bool {
        self.scaled.is_some()
    }

    /// The prompt's condition alone.
    pub(crate) fn positive(&self) -> &Conditioning {
        &self.positive
    }

    /// The condition of the batch that [`input`](Self::input) makes.
    pub(crate) fn condition(&self) -> &Conditioning {
        self.scaled.as_ref().map_or(&self.positive, |(both, _)| both)
    }

    /// The batch that a network is given for `x` `[B, 4, h, w]`: `x`, or twice `x`.
    pub(crate) fn input(&self, x: Tensor<4>) -> Tensor<4> {
        if self.doubles() { x.repeat_dim(0, 2) } else { x }
    }

    /// The UNet's output for `x` `[B, 4, h, w]` at timestep `t`: `u + scale · (c − u)`, in f32.
    pub(crate) fn predict(
        &self,
        unet: &UNet,
        x: Tensor<4>,
        t: f32,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        let out = unet.forward(self.input(x), &[t], self.condition(), residuals)?.cast(FloatDType::F32);
        let Some((_, scale)) = &self.scaled else { return Ok(out) };
        let [u, c] = halves(out);
        Ok(u.clone() + (c - u).mul_scalar(*scale))
    }
}

/// Splits `[2B, …]` into its two halves of `B`.
fn halves(x: Tensor<4>) -> [Tensor<4>; 2] {
    let b = x.dims()[0] / 2;
    [x.clone().narrow(0, 0, b), x.narrow(0, b, b)]
}
