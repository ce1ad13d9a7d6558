//! From latents to pixels, by whichever autoencoder the model has.

use burn::tensor::{FloatDType, Tensor};
use hypersd_core::{Component, Image, LoadOptions, SharedSource, Slots};
use hypersd_models::{
    ops::activation_dtype,
    tiny_vae::{TinyVae, TinyVaeConfig},
    vae::{Vae, VaeConfig},
};

use crate::{
    Error,
    network::Network,
    notice::{Notice, Notices},
    pipeline::host_tensor,
};

/// The configuration of an autoencoder, which says of what kind it is.
#[derive(Debug, Clone)]
pub(crate) enum DecoderConfig {
    Kl(VaeConfig),
    Tiny(TinyVaeConfig),
}

/// An autoencoder, of which only the decoding half is used.
#[derive(Debug)]
pub(crate) struct Decoder {
    network: Autoencoder,
    /// Decode large pictures in tiles.
    tiled: bool,
}

#[derive(Debug)]
enum Autoencoder {
    Kl(Box<Network<Vae>>),
    Tiny(Box<Network<TinyVae>>),
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

    /// The type that weights are read in, which were asked for in `stored` and would be computed with in `run_in`.
    fn weights_in(&self, stored: FloatDType, run_in: FloatDType, upcast: bool) -> FloatDType {
        if upcast && run_in == FloatDType::F16 && self.overflows() { FloatDType::F32 } else { stored }
    }

    /// Whether the network says of itself that f16 is not enough for it, as SDXL's does.
    fn overflows(&self) -> bool {
        matches!(self, Self::Kl(config) if config.force_upcast)
    }
}

impl Decoder {
    /// With `upcast`, a network that says that it overflows in f16 is loaded in f32 where it would be run in f16.
    pub(crate) fn new(
        config: &DecoderConfig,
        source: SharedSource,
        options: &LoadOptions,
        upcast: bool,
        tiled: bool,
    ) -> Result<Self, Error> {
        let run_in = activation_dtype(options.dtype, &options.device);
        let dtype = config.weights_in(options.dtype, run_in, upcast);
        let options = LoadOptions { dtype, ..options.clone() };
        let network = match config {
            DecoderConfig::Kl(config) => {
                let blank = Vae::new(config, &options.device)?;
                Autoencoder::Kl(Box::new(Network::new(blank, source, options)?))
            }
            DecoderConfig::Tiny(config) => {
                let blank = TinyVae::new(config, &options.device)?;
                Autoencoder::Tiny(Box::new(Network::new(blank, source, options)?))
            }
        };
        Ok(Self { network, tiled })
    }

    /// Reads the weights, to stay in memory.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        match &mut self.network {
            Autoencoder::Kl(vae) => vae.keep(),
            Autoencoder::Tiny(vae) => vae.keep(),
        }
    }

    /// Scheduler latents `[B, 4, h, w]` → B pictures of 8w x 8h pixels, one after the other to save memory. Where half
    /// precision overflows, in f32, with a notice. On the CPU only weights can: what lies between is f32 anyway.
    pub(crate) fn decode(&self, latents: Tensor<4>, notices: &Notices) -> Result<Vec<Image>, Error> {
        match &self.network {
            Autoencoder::Kl(vae) if self.tiled => decode(vae, latents, notices, Vae::decode_tiled),
            Autoencoder::Kl(vae) => decode(vae, latents, notices, Vae::decode),
            Autoencoder::Tiny(vae) => decode(vae, latents, notices, TinyVae::decode),
        }
    }
}

fn decode<M: Slots + Clone>(
    network: &Network<M>,
    latents: Tensor<4>,
    notices: &Notices,
    pixels: fn(&M, Tensor<4>) -> Result<Tensor<4>, hypersd_models::Error>,
) -> Result<Vec<Image>, Error> {
    let lent = network.get()?;
    let mut images = Vec::with_capacity(latents.dims()[0]);
    for x in latents.split(1, 0) {
        let mut picture = host_tensor(pixels(&lent, x.clone())?);
        let finite = picture.to_f32().iter().all(|x| x.is_finite());
        if !finite && network.dtype() != FloatDType::F32 {
            notices.give(Notice::DecodedInF32);
            picture = host_tensor(pixels(&*network.get_in(FloatDType::F32)?, x)?);
        }
        images.extend(Image::from_tensor(&picture)?);
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use FloatDType::{BF16, F16, F32};

    use super::*;

    #[test]
    fn only_what_would_overflow_in_f16_is_read_in_f32() {
        let config = |force_upcast| {
            let text = include_str!("../tests/fixtures/tiny-sdxl/vae/config.json");
            let mut config: VaeConfig = serde_json::from_str(text).expect("a configuration");
            config.force_upcast = force_upcast;
            DecoderConfig::Kl(config)
        };
        let (loud, quiet) = (config(true), config(false));
        assert_eq!(loud.weights_in(F16, F16, true), F32, "SDXL on a GPU");
        assert_eq!(loud.weights_in(F16, F32, true), F16, "SDXL on the CPU");
        assert_eq!(loud.weights_in(F16, F16, false), F16, "SD1.5");
        assert_eq!(loud.weights_in(BF16, BF16, true), BF16);
        assert_eq!(quiet.weights_in(F16, F16, true), F16);
    }
}
