//! What one drawing leaves for the next: whatever comes of the same is taken, not computed again.

use burn::tensor::Device;
use hypersd_core::Noise;

use super::{
    Prompted,
    control::Hints,
    encodings::Encodings,
    latents::{KeptNoise, NoiseSource},
    prompt::Batch,
};
use crate::{Error, Prompt, Refine, Request};

/// The parts of the last drawing that the next may have in common with it. They are of one model.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// True where there is a next drawing.
    keeps: bool,
    prompted: Option<(Told, Prompted)>,
    noise: Option<KeptNoise>,
    pub(super) encodings: Encodings,
    pub(super) hints: Hints,
    prompt_reused: bool,
    noise_reused: bool,
}

/// All that decides conditions.
#[derive(Debug, PartialEq)]
struct Told {
    prompt: Prompt,
    /// Read only with guidance.
    negative: Option<Option<Prompt>>,
    /// Where the denoiser is told it.
    guidance: Option<f64>,
    /// Read only by a refiner.
    refine: Option<Refine>,
    batch: Batch,
}

/// The parts that were not computed again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reused {
    /// What the text encoders make of the prompts.
    pub prompt: bool,
    /// The first draws of noise.
    pub noise: bool,
    /// The latents of the pictures that are started from.
    pub start: bool,
    /// What the ControlNets make of their pictures.
    pub controls: bool,
}

impl Memo {
    /// A memo for drawings to come.
    pub(crate) fn kept() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    /// The parts that the last drawing took from the one before it.
    pub(crate) fn reused(&self) -> Reused {
        Reused {
            prompt: self.prompt_reused,
            noise: self.noise_reused,
            start: self.encodings.are_reused(),
            controls: self.hints.reused,
        }
    }

    /// The conditions of a request, encoded where they are not those of the last.
    pub(super) fn prompted(
        &mut self,
        request: &Request,
        (batch, guidance): (Batch, Option<f64>),
        encode: impl FnOnce() -> Result<Prompted, Error>,
    ) -> Result<Prompted, Error> {
        if !self.keeps {
            return encode();
        }
        let negative = request.is_guided().then(|| request.negative.clone());
        let Request { refine, ref prompt, .. } = *request;
        let told = Told { prompt: prompt.clone(), negative, guidance, refine, batch };
        self.prompt_reused = self.prompted.as_ref().is_some_and(|(same, _)| *same == told);
        match &self.prompted {
            Some((_, prompted)) if self.prompt_reused => Ok(prompted.clone()),
            _ => {
                self.prompted = None; // its memory is not needed beside the new one's
                let prompted = encode()?;
                self.prompted = Some((told, prompted.clone()));
                Ok(prompted)
            }
        }
    }

    /// The noise of a request, for latents of a shape.
    pub(super) fn noise(&mut self, request: &Request, shape: [usize; 4], device: &Device) -> NoiseSource {
        let Request { rng, seed, .. } = *request;
        if !self.keeps {
            return NoiseSource::new(Noise::new(rng, seed), shape, device.clone());
        }
        let same = self.noise.take().filter(|noise| noise.is_of(rng, seed));
        let noise = same.unwrap_or_else(|| KeptNoise::new(rng, seed));
        self.noise_reused = noise.has(shape);
        self.noise = Some(noise.clone());
        NoiseSource::kept(noise, shape, device.clone())
    }
}
