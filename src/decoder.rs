//! From latents to pixels, by whichever autoencoder the model has.

use burn::tensor::{FloatDType, Tensor};
use hypersd_core::{Component, HostTensor, LoadOptions, SharedSource, load};
use hypersd_models::{
    ops::activation_dtype,
    tiny_vae::{TinyVae, TinyVaeConfig},
    vae::{Vae, VaeConfig},
};

use crate::{
    Error,
    notice::{Notice, Notices},
    pipeline::host_tensor,
};

/// The configuration of an autoencoder, which says of what kind it is.
#[derive(Debug, Clone)]
pub(crate) enum DecoderConfig {
    Kl(VaeConfig),
    Tiny(TinyVaeConfig),
}

/// A loaded autoencoder, with what it takes to load it again in f32.
#[derive(Debug)]
pub(crate) struct Decoder {
    network: Network,
    config: DecoderConfig,
    source: SharedSource,
    options: LoadOptions,
    /// Decode large pictures in tiles.
    tiled: bool,
}

#[derive(Debug)]
enum Network {
    Kl(Box<Vae>),
    Tiny(Box<TinyVae>),
}

impl DecoderConfig {
    /// Reads a component's configuration; the class it was saved from tells the kinds apart.
    pub(crate) fn of(component: &Component) -> Result<Self, Error> {
        let origin = || Error::config(component.location());
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
                origin: component.location().to_string(),
                found: format!("the VAE is of class {other}"),
                instead: "use an AutoencoderKL or an AutoencoderTiny".into(),
            }),
        }
    }

    /// Whether the network says of itself that f16 is not enough for it, as SDXL's does.
    fn overflows(&self) -> bool {
        matches!(self, Self::Kl(config) if config.force_upcast)
    }
}

impl Decoder {
    /// With `upcast`, a network that says that it overflows in f16 is loaded in f32 where it would be run in f16.
    pub(crate) fn load(
        config: DecoderConfig,
        source: SharedSource,
        options: &LoadOptions,
        upcast: bool,
        tiled: bool,
    ) -> Result<Self, Error> {
        let run_in_f16 = activation_dtype(options.dtype, &options.device) == FloatDType::F16;
        let upcast = upcast && run_in_f16 && config.overflows();
        let dtype = if upcast { FloatDType::F32 } else { options.dtype };
        let options = LoadOptions { dtype, ..options.clone() };
        let network = Network::load(&config, &source, &options)?;
        Ok(Self { network, config, source, options, tiled })
    }

    /// Scheduler latents `[B, 4, h, w]` → pixels `[B, 3, 8h, 8w]` in \[-1, 1\], not clamped. Where half precision
    /// overflows, in f32, with a notice. On the CPU only weights can: what lies between is f32 anyway.
    pub(crate) fn decode(&self, latents: Tensor<4>, notices: &Notices) -> Result<HostTensor<'static>, Error> {
        let pixels = host_tensor(self.network.decode(latents.clone(), self.tiled)?);
        let finite = pixels.to_f32().iter().all(|x| x.is_finite());
        if finite || self.options.dtype == FloatDType::F32 {
            return Ok(pixels);
        }
        notices.give(Notice::DecodedInF32);
        let options = LoadOptions { dtype: FloatDType::F32, ..self.options.clone() };
        let network = Network::load(&self.config, &self.source, &options)?;
        Ok(host_tensor(network.decode(latents, self.tiled)?))
    }
}

impl Network {
    fn load(config: &DecoderConfig, source: &SharedSource, options: &LoadOptions) -> Result<Self, Error> {
        let device = &options.device;
        Ok(match config {
            DecoderConfig::Kl(config) => {
                Self::Kl(Box::new(load(Vae::new(config, device)?, &**source, options)?))
            }
            DecoderConfig::Tiny(config) => {
                Self::Tiny(Box::new(load(TinyVae::new(config, device)?, &**source, options)?))
            }
        })
    }

    fn decode(&self, latents: Tensor<4>, tiled: bool) -> Result<Tensor<4>, Error> {
        Ok(match self {
            Self::Kl(vae) if tiled => vae.decode_tiled(latents)?,
            Self::Kl(vae) => vae.decode(latents)?,
            Self::Tiny(vae) => vae.decode(latents)?,
        })
    }
}
