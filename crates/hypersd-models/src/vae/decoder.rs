//! Latents to images: the second half of the autoencoder.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    error::{Error, check_shape},
    layers::{Conv2d, conv1x1, conv3x3, group_norm, resample::Upsample, resnet::Resnet},
    ops,
    vae::{config::VaeConfig, mid::MidBlock, tiling::Tiling},
};

/// The decoding half of diffusers' `AutoencoderKL`. Field names are diffusers' names, so that parameter paths are its
/// keys.
#[derive(Debug, Clone)]
pub struct Decoder {
    decoder: Layers,
    post_quant_conv: Option<Conv2d>,
    config: VaeConfig,
}

slots!(Decoder { decoder, post_quant_conv; config });

/// All but the first 1x1 convolution.
#[derive(Debug, Clone)]
struct Layers {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

slots!(Layers { conv_in, mid_block, up_blocks, conv_norm_out, conv_out });

/// `UpDecoderBlock2D`: one resnet more than a block of the encoder has.
#[derive(Debug, Clone)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsamplers: Vec<Upsample>,
}

slots!(UpBlock { resnets, upsamplers });

impl Decoder {
    /// The other half's tensors in a file of both, as patterns for [`LoadOptions`](hypersd_core::LoadOptions).
    pub const OTHER_HALF: &[&str] = &["encoder.*", "quant_conv.*"];

    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`VaeConfig::validate`] refuses.
    pub fn new(config: &VaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let latent = config.latent_channels;
        Ok(Self {
            decoder: Layers::new(config, device),
            post_quant_conv: config.use_post_quant_conv.then(|| conv1x1(latent, latent, device)),
            config: config.clone(),
        })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
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
        Ok(self.decode_unscaled(self.config.unscale(latents)))
    }

    /// The number of [stages](Self::stage) of decoding.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.decoder.stages()
    }

    /// One stage of [`decode`](Self::decode), for whoever may want to stop between two: the first takes latents, each other
    /// what the one before it gave, and the last gives the image. They end where the size changes.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), of the first.
    pub fn stage(&self, index: usize, x: Tensor<4>) -> Result<Tensor<4>, Error> {
        let x = match index {
            0 => {
                self.check_latents(&x)?;
                self.first_conv(self.config.unscale(x))
            }
            _ => x,
        };
        Ok(ops::in_pool(&x.device(), || self.decoder.stage(index, x)))
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
        Ok(tiling.decode(self.config.unscale(latents), |tile| self.decode_unscaled(tile)))
    }

    fn check_latents(&self, latents: &Tensor<4>) -> Result<(), Error> {
        check_shape("latents", latents.dims(), [None, Some(self.config.latent_channels), None, None])
    }

    fn decode_unscaled(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = self.first_conv(latents);
        ops::in_pool(&x.device(), || self.decoder.forward(x))
    }

    /// Unscaled latents in the type that is computed in, through the 1x1 convolution where there is one.
    fn first_conv(&self, latents: Tensor<4>) -> Tensor<4> {
        let x = latents.cast(self.decoder.conv_in.activation_dtype());
        match &self.post_quant_conv {
            Some(conv) => ops::conv2d(x, conv),
            None => x,
        }
    }
}

impl Layers {
    fn new(config: &VaeConfig, device: &Device) -> Self {
        let channels = config.block_out_channels[0];
        Self {
            conv_in: conv3x3(config.latent_channels, config.widest(), device),
            mid_block: MidBlock::new(config, device),
            up_blocks: (0..config.levels()).rev().map(|level| UpBlock::new(config, level, device)).collect(),
            conv_norm_out: group_norm(config.norm_num_groups, channels, VaeConfig::EPS, device),
            conv_out: conv3x3(channels, config.out_channels, device),
        }
    }

    /// `[B, latent_channels, h, w]` → `[B, out_channels, 8h, 8w]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        (0..self.stages()).fold(x, |x, index| self.stage(index, x))
    }

    fn stages(&self) -> usize {
        self.up_blocks.len() + 2
    }

    fn stage(&self, index: usize, x: Tensor<4>) -> Tensor<4> {
        match index.checked_sub(1).map(|level| self.up_blocks.get(level)) {
            None => self.mid_block.forward(ops::conv2d(x, &self.conv_in)),
            Some(Some(block)) => block.forward(x),
            Some(None) => ops::conv2d(ops::group_norm_silu(x, &self.conv_norm_out), &self.conv_out),
        }
    }
}

impl UpBlock {
    fn new(config: &VaeConfig, level: usize, device: &Device) -> Self {
        let channels = config.block_out_channels[level];
        let c_in = config.block_out_channels[(level + 1).min(config.levels() - 1)];
        let resnet = |i| Resnet::new(config.resnet(if i == 0 { c_in } else { channels }, channels), device);
        Self {
            resnets: (0..=config.layers_per_block).map(resnet).collect(),
            upsamplers: (level > 0).then(|| Upsample::new(channels, device)).into_iter().collect(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.resnets.iter().fold(x, |x, resnet| resnet.forward(x, None));
        self.upsamplers.iter().fold(x, |x, upsampler| upsampler.forward(x))
    }
}
