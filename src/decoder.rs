//! From latents to pixels, by whichever autoencoder the model has.

use burn::tensor::Tensor;
use hypersd_core::{Component, LoadOptions, SharedSource, TensorSource, load};
use hypersd_models::{
    tiny_vae::{TinyVae, TinyVaeConfig},
    vae::{Vae, VaeConfig},
};

use crate::Error;

/// The configuration of an autoencoder, which says of what kind it is.
#[derive(Debug, Clone)]
pub(crate) enum DecoderConfig {
    Kl(VaeConfig),
    Tiny(TinyVaeConfig),
}

/// A loaded autoencoder.
#[derive(Debug)]
pub(crate) enum Decoder {
    Kl(Vae),
    Tiny(TinyVae),
}

impl DecoderConfig {
    /// Reads a component's configuration; the class it was saved from tells the kinds apart.
    pub(crate) fn of(component: &Component) -> Result<Self, Error> {
        let origin = || Error::config(component.path().display());
        match component.class_name() {
            None | Some("AutoencoderKL") => {
                let config: VaeConfig = component.config()?;
                config.validate().map_err(origin())?;
                Ok(Self::Kl(config))
            }
            Some("AutoencoderTiny") => {
                let config: TinyVaeConfig = component.config()?;
                config.validate().map_err(origin())?;
                Ok(Self::Tiny(config))
            }
            Some(other) => Err(Error::Unsupported {
                origin: component.path().display().to_string(),
                found: format!("the VAE is of class {other}"),
                instead: "use an AutoencoderKL or an AutoencoderTiny".into(),
            }),
        }
    }

    /// The configuration of a file that stands alone: TAESD is known by its names, and has one shape only.
    pub(crate) fn guess(source: &SharedSource, own: Self) -> Self {
        let is_tiny = source.names().iter().any(|name| name.starts_with("decoder.layers."));
        match own {
            _ if is_tiny => Self::Tiny(TinyVaeConfig::default()),
            Self::Kl(config) => Self::Kl(config),
            Self::Tiny(_) => Self::Kl(VaeConfig::sd15()),
        }
    }
}

impl Decoder {
    pub(crate) fn load(
        config: &DecoderConfig,
        source: &dyn TensorSource,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        Ok(match config {
            DecoderConfig::Kl(config) => Self::Kl(load(Vae::new(config, &options.device)?, source, options)?),
            DecoderConfig::Tiny(config) => {
                Self::Tiny(load(TinyVae::new(config, &options.device)?, source, options)?)
            }
        })
    }

    /// Scheduler latents `[B, 4, h, w]` → pixels `[B, 3, 8h, 8w]` in \[-1, 1\], not clamped.
    pub(crate) fn decode(&self, latents: Tensor<4>) -> Result<Tensor<4>, Error> {
        Ok(match self {
            Self::Kl(vae) => vae.decode(latents)?,
            Self::Tiny(vae) => vae.decode(latents)?,
        })
    }
}
