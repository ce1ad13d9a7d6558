//! From what a request starts with to the latents of the first step.

use burn::tensor::Tensor;
use hypersd_core::Image;
use hypersd_schedulers::{Schedule, Step};

use super::{
    autoencoder::Autoencoder,
    latents::{Latents, NoiseSource},
};
use crate::{Error, Start, notice::Notices};

/// Where the loop begins.
pub(super) struct Beginning {
    /// The latents of the first step.
    pub(super) x: Latents,
}

impl Beginning {
    /// Encodes the pictures at `size`, height and width in pixels, and draws in diffusers' order: the encoder's sample,
    /// then the noise.
    pub(super) fn of(
        start: &Start,
        schedule: &Schedule,
        size: [usize; 2],
        autoencoder: &Autoencoder,
        noise: &mut NoiseSource,
        notices: &Notices,
    ) -> Result<Self, Error> {
        let x = match start {
            Start::Noise => Latents(noise.draw().0.mul_scalar(schedule.init_noise_sigma)),
            Start::Picture { images, .. } => {
                let known = encode(&resized(images, size)?, autoencoder, noise, notices)?;
                first(schedule)?.add_noise(&Latents(known), &noise.draw())?
            }
        };
        Ok(Self { x })
    }
}

/// The first step.
fn first(schedule: &Schedule) -> Result<&Step, Error> {
    Ok(schedule.steps.first().ok_or(hypersd_schedulers::Error::NoTimesteps)?)
}

/// The pictures at the size that is drawn.
fn resized(images: &[Image], [height, width]: [usize; 2]) -> Result<Vec<Image>, Error> {
    images.iter().map(|image| Ok(image.resize(width, height)?)).collect()
}

/// A draw of the pictures' latents, for the whole batch: they in turn.
fn encode(
    images: &[Image],
    autoencoder: &Autoencoder,
    noise: &mut NoiseSource,
    notices: &Notices,
) -> Result<Tensor<4>, Error> {
    let sample = autoencoder.config().has_distribution().then(|| noise.draw_for(images.len()));
    let latents = autoencoder.encode(images, sample, notices)?;
    Ok(latents.repeat_dim(0, noise.batch() / images.len()))
}
