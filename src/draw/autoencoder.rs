//! Between latents and pixels, by whichever autoencoder the model has.

use std::collections::VecDeque;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::{Component, Image, LoadOptions, PixelRange, Products, SharedSource, slots};
use hypersd_models::{
    activation_dtype,
    tiny_vae::{self, TinyVaeConfig},
    vae::{self, VaeConfig},
};

use super::latents::host_tensor;
use crate::{
    Error, memory,
    network::{Leftovers, Lent, Network},
    notice::{Notice, Notices},
};

/// The configuration of an autoencoder, which says of what kind it is.
#[derive(Debug, Clone)]
pub(crate) enum AutoencoderConfig {
    Kl(VaeConfig),
    Tiny(TinyVaeConfig),
}

/// An autoencoder, each half a network of its own: what is never encoded needs no encoder in memory.
#[derive(Debug)]
pub(crate) struct Autoencoder {
    config: AutoencoderConfig,
    encoder: Network<Encoder>,
    decoder: Network<Decoder>,
    /// Decode large pictures in tiles.
    tiled: bool,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a pipeline has one, and it does not move")]
enum Encoder {
    Kl(vae::Encoder),
    Tiny(tiny_vae::Encoder),
}

slots!(Encoder: Kl | Tiny);

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a pipeline has one, and it does not move")]
enum Decoder {
    Kl(vae::Decoder),
    Tiny(tiny_vae::Decoder),
}

slots!(Decoder: Kl | Tiny);

impl AutoencoderConfig {
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

    /// True where a picture's latents are a distribution, from which one is drawn; a TAESD has but one answer.
    pub(crate) fn has_distribution(&self) -> bool {
        matches!(self, Self::Kl(_))
    }

    /// Latents of the denoiser's scale in the encoder's own.
    pub(crate) fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Kl(config) => config.unscale(latents),
            Self::Tiny(_) => latents,
        }
    }

    /// Channels of the latents.
    pub(crate) fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.latent_channels,
            Self::Tiny(config) => config.latent_channels,
        }
    }

    /// Pixels per latent along each side.
    pub(crate) fn factor(&self) -> usize {
        match self {
            Self::Kl(config) => config.factor(),
            Self::Tiny(config) => config.factor(),
        }
    }

    /// Both halves, whose weights are still to be read.
    fn halves(&self, device: &Device) -> Result<(Encoder, Decoder), Error> {
        Ok(match self {
            Self::Kl(config) => (
                Encoder::Kl(vae::Encoder::new(config, device)?),
                Decoder::Kl(vae::Decoder::new(config, device)?),
            ),
            Self::Tiny(config) => (
                Encoder::Tiny(tiny_vae::Encoder::new(config, device)?),
                Decoder::Tiny(tiny_vae::Decoder::new(config, device)?),
            ),
        })
    }

    /// Bytes that the weights of the encoder and of the decoder take, kept in a type; nothing of them is in 8 bits.
    pub(crate) fn sizes(&self, stored: FloatDType, device: &Device) -> Result<[u64; 2], Error> {
        let (encoder, decoder) = self.halves(device)?;
        Ok([
            memory::weights(&encoder, stored, Products::F32),
            memory::weights(&decoder, stored, Products::F32),
        ])
    }

    /// The type that weights are kept in on a device. With `upcast`, those of a network that says that it overflows in f16 are
    /// kept in f32 where it would be run in f16.
    pub(crate) fn stored(&self, asked_for: FloatDType, device: &Device, upcast: bool) -> FloatDType {
        self.weights_in(asked_for, activation_dtype(asked_for, device), upcast)
    }

    /// The type that weights are read in, which were asked for in `stored` and would be computed with in `run_in`.
    fn weights_in(&self, stored: FloatDType, run_in: FloatDType, upcast: bool) -> FloatDType {
        if upcast && run_in == FloatDType::F16 && self.overflows() { FloatDType::F32 } else { stored }
    }

    /// True where the network says of itself that f16 is not enough for it, as SDXL's does.
    fn overflows(&self) -> bool {
        matches!(self, Self::Kl(config) if config.force_upcast)
    }
}

impl Autoencoder {
    /// An autoencoder whose weights are still to be read. With `upcast`, a network that says that it overflows in f16 is
    /// read in f32 where it would be run in f16.
    pub(crate) fn new(
        config: AutoencoderConfig,
        source: SharedSource,
        (options, products): (&LoadOptions, Products),
        leftovers: &Leftovers,
        upcast: bool,
        tiled: bool,
    ) -> Result<Self, Error> {
        let dtype = config.stored(options.dtype, &options.device, upcast);
        let half = |ignore| LoadOptions { dtype, ignore, ..options.clone() };
        let (encoder, decoder) = config.halves(&options.device)?;
        let (encoder_alone, decoder_alone) = match &config {
            AutoencoderConfig::Kl(_) => (half(vae::Encoder::OTHER_HALF), half(vae::Decoder::OTHER_HALF)),
            AutoencoderConfig::Tiny(_) => {
                (half(tiny_vae::Encoder::OTHER_HALF), half(tiny_vae::Decoder::OTHER_HALF))
            }
        };
        Ok(Self {
            config,
            encoder: Network::new(encoder, source.clone(), encoder_alone, products, leftovers)?,
            decoder: Network::new(decoder, source, decoder_alone, products, leftovers)?,
            tiled,
        })
    }

    /// Reads the decoder's weights, to stay in memory, and lets the encoder's stay there from their first use on.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.encoder.keep_once_used();
        self.decoder.keep()
    }

    /// Bytes that the weights of the encoder and of the decoder take, and the type that they are kept in.
    pub(crate) fn sizes(&self) -> ([u64; 2], FloatDType) {
        ([self.encoder.size(), self.decoder.size()], self.decoder.dtype())
    }

    /// True where large pictures are decoded in tiles.
    pub(crate) fn is_tiled(&self) -> bool {
        self.tiled
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &AutoencoderConfig {
        &self.config
    }

    /// Pictures of one size → their latents `[B, 4, H/8, W/8]`, in f32 and in the scale of the denoiser: those at `noise`
    /// of the encoder's distribution, where it [has one](AutoencoderConfig::has_distribution), or the likeliest.
    pub(crate) fn encode(
        &self,
        images: &[Image],
        noise: Option<Tensor<4>>,
        notices: &Notices,
    ) -> Result<Tensor<4>, Error> {
        let pixels = images.iter().map(|image| pixels(image, self.encoder.device())).collect();
        self.encode_pixels(pixels, noise, notices)
    }

    /// As [`encode`](Self::encode), of pixels `[1, 3, H, W]` in [-1, 1], one picture after the other. Where half precision
    /// overflows, in f32, with a notice.
    pub(crate) fn encode_pixels(
        &self,
        pictures: Vec<Tensor<4>>,
        noise: Option<Tensor<4>>,
        notices: &Notices,
    ) -> Result<Tensor<4>, Error> {
        let encoder = self.encoder.get()?;
        let mut latents = Vec::with_capacity(pictures.len());
        for (i, pixels) in pictures.into_iter().enumerate() {
            let noise = noise.clone().map(|noise| noise.narrow(0, i, 1));
            let mut x = encoder.encode(pixels.clone(), noise.clone())?;
            if self.encoder.dtype() != FloatDType::F32 && !is_finite(&x) {
                notices.give(Notice::EncodedInF32);
                x = self.encoder.get_in(FloatDType::F32)?.encode(pixels, noise)?;
            }
            latents.push(x);
        }
        Ok(Tensor::cat(latents, 0))
    }

    /// Latents `[B, 4, h, w]` → B pictures of 8w x 8h pixels, one after the other to save memory. Where half precision
    /// overflows, in f32, with a notice. On the CPU only weights can: what lies between is f32 anyway.
    pub(crate) fn decode(&self, latents: Tensor<4>, notices: &Notices) -> Result<Vec<Image>, Error> {
        let mut decoding = self.decoding(latents)?;
        while decoding.is_left() {
            decoding.advance(notices)?;
        }
        Ok(decoding.images)
    }

    /// The same, one stage of the decoder at a time.
    pub(crate) fn decoding(&self, latents: Tensor<4>) -> Result<Decoding<'_>, Error> {
        let decoder = self.decoder.get()?;
        let left = latents.split(1, 0).into();
        Ok(Decoding { autoencoder: self, decoder, left, stage: 0, x: None, images: Vec::new() })
    }
}

/// Decoding in progress.
pub(crate) struct Decoding<'a> {
    autoencoder: &'a Autoencoder,
    decoder: Lent<'a, Decoder>,
    /// Latents `[1, 4, h, w]` of the pictures to come, the one that is being decoded first.
    left: VecDeque<Tensor<4>>,
    /// The next stage of it, and what the one before gave.
    stage: usize,
    x: Option<Tensor<4>>,
    images: Vec<Image>,
}

impl Decoding<'_> {
    /// True until the last picture is decoded.
    pub(crate) fn is_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// The pictures that are decoded.
    pub(crate) fn into_images(self) -> Vec<Image> {
        self.images
    }

    /// Runs the next stage. In tiles there is but one.
    pub(crate) fn advance(&mut self, notices: &Notices) -> Result<(), Error> {
        let Some(latents) = self.left.front() else { return Ok(()) };
        let stages = self.decoder.stages(self.autoencoder.tiled);
        let x = self.x.take().unwrap_or_else(|| latents.clone());
        let x = self.decoder.stage(self.stage, x, self.autoencoder.tiled)?;
        self.stage += 1;
        if self.stage < stages {
            self.x = Some(x);
            return Ok(());
        }
        let image = self.image(latents.clone(), x, notices)?;
        self.images.extend(image);
        self.left.pop_front();
        self.stage = 0;
        Ok(())
    }

    /// The picture in what the last stage gave.
    fn image(&self, latents: Tensor<4>, x: Tensor<4>, notices: &Notices) -> Result<Vec<Image>, Error> {
        let network = &self.autoencoder.decoder;
        let mut picture = host_tensor(x);
        let finite = picture.to_f32().iter().all(|x| x.is_finite());
        if !finite && network.dtype() != FloatDType::F32 {
            notices.give(Notice::DecodedInF32);
            let decoder = network.get_in(FloatDType::F32)?;
            picture = host_tensor(decoder.decode(latents, self.autoencoder.tiled)?);
        }
        Ok(Image::from_tensor(&picture)?)
    }
}

/// A picture as an encoder takes it: `[1, 3, H, W]` in [-1, 1].
pub(super) fn pixels(image: &Image, device: &Device) -> Tensor<4> {
    let pixels = image.to_tensor(PixelRange::Signed);
    let shape = [1, 3, image.height(), image.width()];
    let data = TensorData::new(pixels.to_f32().into_owned(), shape);
    Tensor::from_data(data, (device, DType::F32))
}

fn is_finite(x: &Tensor<4>) -> bool {
    host_tensor(x.clone()).to_f32().iter().all(|x| x.is_finite())
}

impl Encoder {
    /// Latents in f32; a distribution is read in f32, too.
    fn encode(&self, pixels: Tensor<4>, noise: Option<Tensor<4>>) -> Result<Tensor<4>, Error> {
        Ok(match self {
            Self::Kl(encoder) => {
                let mut moments = encoder.encode(pixels)?;
                moments.mean = moments.mean.cast(FloatDType::F32);
                moments.logvar = moments.logvar.cast(FloatDType::F32);
                let latents = match noise {
                    Some(noise) => moments.sample(noise),
                    None => moments.mode(),
                };
                encoder.config().scale(latents)
            }
            Self::Tiny(encoder) => encoder.encode(pixels)?.cast(FloatDType::F32),
        })
    }
}

impl Decoder {
    fn decode(&self, latents: Tensor<4>, tiled: bool) -> Result<Tensor<4>, Error> {
        (0..self.stages(tiled)).try_fold(latents, |x, index| self.stage(index, x, tiled))
    }

    fn stages(&self, tiled: bool) -> usize {
        match self {
            Self::Kl(_) if tiled => 1,
            Self::Kl(decoder) => decoder.stages(),
            Self::Tiny(decoder) => decoder.stages(),
        }
    }

    fn stage(&self, index: usize, x: Tensor<4>, tiled: bool) -> Result<Tensor<4>, Error> {
        Ok(match self {
            Self::Kl(decoder) if tiled => decoder.decode_tiled(x)?,
            Self::Kl(decoder) => decoder.stage(index, x)?,
            Self::Tiny(decoder) => decoder.stage(index, x)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use FloatDType::{BF16, F16, F32};

    use super::*;

    #[test]
    fn only_what_would_overflow_in_f16_is_read_in_f32() {
        let config = |force_upcast| AutoencoderConfig::Kl(VaeConfig { force_upcast, ..VaeConfig::sdxl() });
        let (loud, quiet) = (config(true), config(false));
        assert_eq!(loud.weights_in(F16, F16, true), F32, "SDXL on a GPU");
        assert_eq!(loud.weights_in(F16, F32, true), F16, "SDXL on the CPU");
        assert_eq!(loud.weights_in(F16, F16, false), F16, "SD1.5");
        assert_eq!(loud.weights_in(BF16, BF16, true), BF16);
        assert_eq!(quiet.weights_in(F16, F16, true), F16);
    }
}
