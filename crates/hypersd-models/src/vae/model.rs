//! The autoencoder: both halves, and the scale of the latents between them.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::slots;

use crate::{
    error::{Error, check_shape},
    layers::{Conv2d, conv1x1},
    ops,
    vae::{config::VaeConfig, decoder::Decoder, encoder::Encoder, tiling::Tiling},
};

/// diffusers' `AutoencoderKL`. Field names are diffusers' names, so that parameter paths are its keys.
#[derive(Debug, Clone)]
pub struct Vae {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    config: VaeConfig,
}

slots!(Vae { encoder, decoder, quant_conv, post_quant_conv; config });

/// The normal distribution of an image's latents, before scaling.
#[derive(Debug, Clone)]
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

impl Vae {
    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`VaeConfig::validate`] refuses.
    pub fn new(config: &VaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let latent = config.latent_channels;
        Ok(Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quant_conv: config.use_quant_conv.then(|| conv1x1(2 * latent, 2 * latent, device)),
            post_quant_conv: config.use_post_quant_conv.then(|| conv1x1(latent, latent, device)),
            config: config.clone(),
        })
    }

    /// What the network was built from.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The distribution of an image's latents. Scale what is drawn from it with [`scale`](Self::scale).
    ///
    /// # Shapes
    /// - image `[B, 3, H, W]` in [-1, 1], H and W at least 8 → moments `[B, 4, ⌊H/8⌋, ⌊W/8⌋]`, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's, or an image that leaves no latents.
    pub fn encode(&self, image: Tensor<4>) -> Result<Moments, Error> {
        let [_, _, h, w] = image.dims();
        check_shape("image", image.dims(), [None, Some(self.config.in_channels), None, None])?;
        let factor = self.config.factor();
        if h < factor || w < factor {
            let expected = format!("[any, {}, {factor} or more, {factor} or more]", self.config.in_channels);
            return Err(Error::Shape { argument: "image", expected, found: image.dims().to_vec() });
        }
        let moments = self.encoder.forward(image.cast(self.dtype()));
        let moments = match &self.quant_conv {
            Some(conv) => ops::conv2d(moments, conv),
            None => moments,
        };
        let latent = self.config.latent_channels;
        Ok(Moments {
            mean: moments.clone().narrow(1, 0, latent),
            logvar: moments.narrow(1, latent, latent).clamp(-30.0, 20.0),
        })
    }

    /// The image of scaled latents, as a sampler leaves them.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → `[B, 3, 8h, 8w]`, about [-1, 1] but not clamped, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's.
    pub fn decode(&self, latents: Tensor<4>) -> Result<Tensor<4>, Error> {
        self.check_latents(&latents)?;
        Ok(self.decode_unscaled(self.unscale(latents)))
    }

    /// [`decode`](Self::decode) in overlapping tiles of `sample_size` pixels, for pictures that are larger: memory
    /// stays that of one tile. The result differs where tiles meet, because none sees the whole picture.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → `[B, 3, 8h, 8w]`
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_tiled(&self, latents: Tensor<4>) -> Result<Tensor<4>, Error> {
        self.check_latents(&latents)?;
        let [_, _, h, w] = latents.dims();
        let tiling = Tiling::new(self.config.sample_size, self.config.factor());
        if h <= tiling.latents && w <= tiling.latents {
            return self.decode(latents);
        }
        Ok(tiling.decode(self.unscale(latents), |tile| self.decode_unscaled(tile)))
    }

    fn check_latents(&self, latents: &Tensor<4>) -> Result<(), Error> {
        check_shape("latents", latents.dims(), [None, Some(self.config.latent_channels), None, None])
    }

    fn decode_unscaled(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = latents.cast(self.dtype());
        let x = match &self.post_quant_conv {
            Some(conv) => ops::conv2d(x, conv),
            None => x,
        };
        ops::in_pool(&x.device(), || self.decoder.forward(x))
    }

    /// Brings latents of the encoder to the scale that the UNet works in, of about unit variance.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → the same
    #[must_use]
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        let scale = self.config.scaling_factor;
        match self.statistics(&latents) {
            Some((mean, std)) => (latents - mean) * scale / std,
            None => (latents - self.config.shift_factor.unwrap_or(0.0)) * scale,
        }
    }

    /// The inverse of [`scale`](Self::scale).
    fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        let scale = self.config.scaling_factor;
        match self.statistics(&latents) {
            Some((mean, std)) => latents * std / scale + mean,
            None => latents / scale + self.config.shift_factor.unwrap_or(0.0),
        }
    }

    /// The configuration's mean and deviation of each channel, `[1, 4, 1, 1]`, where it has them.
    fn statistics(&self, like: &Tensor<4>) -> Option<(Tensor<4>, Tensor<4>)> {
        let channel = |numbers: &Vec<f32>| {
            let data = TensorData::new(numbers.clone(), [1, numbers.len(), 1, 1]);
            Tensor::<4>::from_data(data, (&like.device(), DType::F32)).cast(like.dtype())
        };
        let VaeConfig { latents_mean, latents_std, .. } = &self.config;
        Some((channel(latents_mean.as_ref()?), channel(latents_std.as_ref()?)))
    }

    fn dtype(&self) -> FloatDType {
        self.decoder.dtype()
    }
}
