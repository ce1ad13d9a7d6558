//! The latents between the two halves: their distribution, and the scale that the UNet works in.

use burn::tensor::{DType, Tensor, TensorData};

use crate::vae::config::VaeConfig;

/// The normal distribution of an image's latents, before scaling.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Moments {
    /// `[B, latent_channels, H/8, W/8]`
    pub mean: Tensor<4>,
    /// The logarithm of the variance, from -30 to 20, of the same shape.
    pub logvar: Tensor<4>,
}

impl Moments {
    /// The latents at `noise` (of the mean's shape), unscaled: `mean + exp(logvar / 2) · noise`.
    ///
    /// # Panics
    /// If the noise has another shape or type than the mean.
    #[must_use]
    pub fn sample(self, noise: Tensor<4>) -> Tensor<4> {
        self.mean + (self.logvar * 0.5).exp() * noise
    }

    /// The likeliest latents, unscaled: the mean.
    #[must_use]
    pub fn mode(self) -> Tensor<4> {
        self.mean
    }
}

impl VaeConfig {
    /// Brings latents of the encoder to the scale that the UNet works in, of about unit variance.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → the same
    #[must_use]
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self.statistics(&latents) {
            Some((mean, std)) => (latents - mean) * self.scaling_factor / std,
            None => (latents - self.shift_factor.unwrap_or(0.0)) * self.scaling_factor,
        }
    }

    /// The inverse of [`scale`](Self::scale).
    #[must_use]
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self.statistics(&latents) {
            Some((mean, std)) => latents * std / self.scaling_factor + mean,
            None => latents / self.scaling_factor + self.shift_factor.unwrap_or(0.0),
        }
    }

    /// The mean and deviation of each channel, `[1, 4, 1, 1]`, where the configuration has them.
    fn statistics(&self, like: &Tensor<4>) -> Option<(Tensor<4>, Tensor<4>)> {
        let channel = |numbers: &Vec<f32>| {
            let data = TensorData::new(numbers.clone(), [1, numbers.len(), 1, 1]);
            Tensor::<4>::from_data(data, (&like.device(), DType::F32)).cast(like.dtype())
        };
        Some((channel(self.latents_mean.as_ref()?), channel(self.latents_std.as_ref()?)))
    }
}
