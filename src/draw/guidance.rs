//! Classifier-free guidance: a batch of two, or none at all.

use burn::tensor::{FloatDType, Tensor};
use hypersd_models::unet::{Conditioning, Residuals};

use super::denoiser::Denoiser;
use crate::{Error, network::Lent};

/// The conditions under which a denoiser predicts.
#[derive(Debug)]
pub(super) struct Conditions {
    /// By the prompt.
    pub(super) positive: Conditioning,
    /// With guidance: by the prompt that it leads away from.
    pub(super) negative: Option<Conditioning>,
}

/// The denoiser under its condition, and the guidance scale that reads it.
pub(super) struct Guided<'a> {
    denoiser: Lent<'a, Denoiser>,
    /// The prompt's condition for the whole batch.
    positive: Conditioning,
    /// With guidance: the negative prompt's condition with the prompt's after it, and the scale.
    scaled: Option<(Conditioning, f32)>,
}

impl<'a> Guided<'a> {
    /// One pass with the prompt's condition only, or one pass over a doubled batch: the negative prompt's half first, the
    /// prompt's second.
    ///
    /// # Errors
    /// [`Error::Model`] for conditions of two networks.
    pub(super) fn new(
        denoiser: Lent<'a, Denoiser>,
        conditions: Conditions,
        scale: f64,
    ) -> Result<Self, Error> {
        let Conditions { positive, negative } = conditions;
        let both = negative.map(|negative| negative.cat(positive.clone())).transpose()?;
        Ok(Self { denoiser, positive, scaled: both.map(|both| (both, scale as f32)) })
    }

    /// True where the batch is doubled.
    pub(super) fn doubles(&self) -> bool {
        self.scaled.is_some()
    }

    /// The prompt's condition alone.
    pub(super) fn positive(&self) -> &Conditioning {
        &self.positive
    }

    /// The condition of the batch that [`input`](Self::input) makes.
    pub(super) fn condition(&self) -> &Conditioning {
        self.scaled.as_ref().map_or(&self.positive, |(both, _)| both)
    }

    /// The batch that a network is given for `x` `[B, 4, h, w]`: `x`, or twice `x`.
    pub(super) fn input(&self, x: Tensor<4>) -> Tensor<4> {
        if self.doubles() { x.repeat_dim(0, 2) } else { x }
    }

    /// The prediction for `x` `[B, 4, h, w]` at timestep `t`: `u + scale · (c − u)`, in f32.
    pub(super) fn predict(
        &self,
        x: Tensor<4>,
        t: f32,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        let out = self.denoiser.predict(self.input(x), t, self.condition(), residuals)?;
        let out = out.cast(FloatDType::F32);
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
