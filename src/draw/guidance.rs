//! Classifier-free guidance: a batch of two, or of three for a picture that is to be changed, or none at all.

use burn::tensor::{FloatDType, Tensor};
use hypersd_models::unet::{Conditioning, Residuals};

use super::denoiser::Denoiser;
use crate::{Error, Request, Start, network::Lent};

/// The conditions under which a denoiser predicts.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    /// By the prompt.
    pub(super) positive: Conditioning,
    /// With guidance: by the prompt that it leads away from.
    pub(super) negative: Option<Conditioning>,
}

/// How the predictions of several conditions become one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scales {
    /// From the negative prompt towards the prompt.
    prompt: f32,
    /// From nothing towards the picture that is to be changed, where there is one.
    picture: Option<f32>,
    /// The share in which the outcome gets the deviation of the prompt's prediction.
    rescale: f32,
}

/// The denoiser under its condition, and the guidance scale that reads it.
pub(super) struct Guided<'a> {
    denoiser: Lent<'a, Denoiser>,
    /// The prompt's condition for the whole batch.
    positive: Conditioning,
    /// With guidance: the negative prompt's condition, once or twice, with the prompt's after it, and the scales.
    scaled: Option<(Conditioning, Scales)>,
    /// Channels `[B, C, h, w]` that the denoiser alone is given after those of the latents.
    further: Option<Tensor<4>>,
}

impl Scales {
    /// Those of a request.
    pub(super) fn of(request: &Request) -> Self {
        let picture = match request.start {
            Start::Change { image_guidance, .. } => Some(image_guidance as f32),
            _ => None,
        };
        Self { prompt: request.guidance as f32, picture, rescale: request.guidance_rescale as f32 }
    }

    /// Predictions in a batch.
    fn parts(self) -> usize {
        2 + usize::from(self.picture.is_some())
    }

    /// The prediction from those of all conditions, `[N·B, 4, h, w]`: `u + s · (c − u)`, or for a picture that is to be changed,
    /// where i has it and not the prompt, `u + s · (c − i) + s' · (i − u)`
    /// ([arXiv:2211.09800](https://arxiv.org/abs/2211.09800), equation 3).
    fn combine(self, out: Tensor<4>) -> Tensor<4> {
        let b = out.dims()[0] / self.parts();
        let part = |i: usize| out.clone().narrow(0, i * b, b);
        let (u, c) = (part(0), part(self.parts() - 1));
        let combined = match self.picture {
            None => u.clone() + (c.clone() - u).mul_scalar(self.prompt),
            Some(scale) => {
                let i = part(1);
                u.clone() + (c.clone() - i.clone()).mul_scalar(self.prompt) + (i - u).mul_scalar(scale)
            }
        };
        if self.rescale > 0.0 { self.rescaled(combined, c) } else { combined }
    }

    /// Guidance brightens and flattens; this gives it back the deviation that the prompt's own prediction has
    /// ([arXiv:2305.08891](https://arxiv.org/abs/2305.08891), equations 15 and 16).
    fn rescaled(self, x: Tensor<4>, c: Tensor<4>) -> Tensor<4> {
        let rescaled = x.clone() * (deviations(c) / deviations(x.clone()));
        rescaled.mul_scalar(self.rescale) + x.mul_scalar(1.0 - self.rescale)
    }
}

/// The standard deviation of each sample `[B, 1, 1, 1]`, but for a constant factor.
fn deviations(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let flat = x.reshape([b, c * h * w]);
    let centred = flat.clone() - flat.mean_dim(1);
    (centred.clone() * centred).mean_dim(1).sqrt().reshape([b, 1, 1, 1])
}

impl<'a> Guided<'a> {
    /// One pass with the prompt's condition only, or one pass over a batch of all conditions: the negative prompt's first,
    /// the prompt's last. `further` is what the denoiser alone is given after the latents' channels.
    ///
    /// # Errors
    /// [`Error::Model`] for conditions of two networks.
    pub(super) fn new(
        denoiser: Lent<'a, Denoiser>,
        conditions: Conditions,
        scales: Scales,
        further: Option<Tensor<4>>,
    ) -> Result<Self, Error> {
        let Conditions { positive, negative } = conditions;
        let scaled = match negative {
            None => None,
            Some(negative) => {
                let negatives = match scales.picture {
                    None => negative,
                    Some(_) => negative.clone().cat(negative)?,
                };
                Some((negatives.cat(positive.clone())?, scales))
            }
        };
        Ok(Self { denoiser, positive, scaled, further })
    }

    /// True where the batch has other conditions beside the prompt's.
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

    /// The batch that a network is given for `x` `[B, 4, h, w]`: `x`, or once for each condition.
    pub(super) fn input(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.scaled {
            Some((_, scales)) => x.repeat_dim(0, scales.parts()),
            None => x,
        }
    }

    /// The prediction for `x` `[B, 4, h, w]` at timestep `t`, of all conditions in one, in f32.
    pub(super) fn predict(
        &self,
        x: Tensor<4>,
        t: f32,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        let input = self.with_further(self.input(x));
        let out = self.denoiser.predict(input, t, self.condition(), residuals)?;
        let out = out.cast(FloatDType::F32);
        Ok(match &self.scaled {
            Some((_, scales)) => scales.combine(out),
            None => out,
        })
    }

    /// The batch with the further channels. A picture that is to be changed is not shown under the first condition.
    fn with_further(&self, x: Tensor<4>) -> Tensor<4> {
        let Some(further) = &self.further else { return x };
        let further = match &self.scaled {
            Some((_, Scales { picture: Some(_), .. })) => {
                Tensor::cat(vec![further.zeros_like(), further.clone(), further.clone()], 0)
            }
            Some((_, scales)) => further.clone().repeat_dim(0, scales.parts()),
            None => further.clone(),
        };
        Tensor::cat(vec![x, further], 1)
    }
}
