//! TAESD: an autoencoder of 2.4 million parameters for the same latents (`AutoencoderTiny`).
//!
//! It decodes a picture in a fraction of the [VAE](crate::vae)'s time, with some loss of detail, and speaks the sampler's
//! latents: there is nothing to scale. As there, each half is a network of its own.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;

use crate::error::{Error, check_shape};

mod config;
mod layers;

pub use config::TinyVaeConfig;
use layers::Layers;

/// The encoding half of diffusers' `AutoencoderTiny`. Field names are diffusers' names, so that parameter paths are its
/// keys.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoder: Layers,
    config: TinyVaeConfig,
}

slots!(Encoder { encoder; config });

/// The decoding half of diffusers' `AutoencoderTiny`.
#[derive(Debug, Clone)]
pub struct Decoder {
    decoder: Layers,
    config: TinyVaeConfig,
}

slots!(Decoder { decoder; config });

impl Encoder {
    /// The other half's tensors in a file of both, as patterns for [`LoadOptions`](hypersd_core::LoadOptions).
    pub const OTHER_HALF: &[&str] = &["decoder.*"];

    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`TinyVaeConfig::validate`] refuses.
    pub fn new(config: &TinyVaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { encoder: Layers::encoder(config, device), config: config.clone() })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &TinyVaeConfig {
        &self.config
    }

    /// The latents of an image, in the scale of the sampler.
    ///
    /// # Shapes
    /// - image `[B, 3, H, W]` in [-1, 1] → `[B, 4, ⌈H/8⌉, ⌈W/8⌉]`, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's.
    pub fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>, Error> {
        check_shape("image", image.dims(), [None, Some(self.config.in_channels), None, None])?;
        let unit = (image.cast(self.encoder.dtype()) + 1.0) / 2.0; // the network works on images in [0, 1]
        Ok(self.encoder.forward(unit))
    }
}

impl Decoder {
    /// The other half's tensors in a file of both, as patterns for [`LoadOptions`](hypersd_core::LoadOptions).
    pub const OTHER_HALF: &[&str] = &["encoder.*"];

    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`TinyVaeConfig::validate`] refuses.
    pub fn new(config: &TinyVaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { decoder: Layers::decoder(config, device), config: config.clone() })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &TinyVaeConfig {
        &self.config
    }

    /// The image of latents as a sampler leaves them.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → `[B, 3, 8h, 8w]`, about [-1, 1] but not clamped, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's.
    pub fn decode(&self, latents: Tensor<4>) -> Result<Tensor<4>, Error> {
        (0..self.stages()).try_fold(latents, |x, index| self.stage(index, x))
    }

    /// The number of [stages](Self::stage) of decoding.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.decoder.stages()
    }

    /// One stage of [`decode`](Self::decode), for whoever may want to stop between two: the first takes latents, each other
    /// what the one before it gave, and the last gives the image. They begin where the size changes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), of the first.
    pub fn stage(&self, index: usize, x: Tensor<4>) -> Result<Tensor<4>, Error> {
        let x = match index {
            0 => {
                check_shape("latents", x.dims(), [None, Some(self.config.latent_channels), None, None])?;
                (x.cast(self.decoder.dtype()) / 3.0).tanh() * 3.0 // a soft clamp to [-3, 3]
            }
            _ => x,
        };
        let x = self.decoder.stage(index, x);
        Ok(if index + 1 == self.stages() { x * 2.0 - 1.0 } else { x })
    }
}
