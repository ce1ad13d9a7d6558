//! Images to the moments of their latents: the first half of the autoencoder.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    error::{Error, check_shape},
    layers::{Conv2d, conv1x1, conv3x3, group_norm, resample::Downsample, resnet::Resnet},
    ops,
    vae::{config::VaeConfig, latents::Moments, mid::MidBlock},
};

/// The encoding half of diffusers' `AutoencoderKL`. Field names are diffusers' names, so that parameter paths are its
/// keys.
#[derive(Debug, Clone)]
pub struct Encoder {
    encoder: Layers,
    quant_conv: Option<Conv2d>,
    config: VaeConfig,
}

slots!(Encoder { encoder, quant_conv; config });

/// All but the last 1x1 convolution.
#[derive(Debug, Clone)]
struct Layers {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

slots!(Layers { conv_in, down_blocks, mid_block, conv_norm_out, conv_out });

/// `DownEncoderBlock2D`.
#[derive(Debug, Clone)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsamplers: Vec<Downsample>,
}

slots!(DownBlock { resnets, downsamplers });

impl Encoder {
    /// The other half's tensors in a file of both, as patterns for [`LoadOptions`](hypersd_core::LoadOptions).
    pub const OTHER_HALF: &[&str] = &["decoder.*", "post_quant_conv.*"];

    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`VaeConfig::validate`] refuses.
    pub fn new(config: &VaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let moments = 2 * config.latent_channels;
        Ok(Self {
            encoder: Layers::new(config, device),
            quant_conv: config.use_quant_conv.then(|| conv1x1(moments, moments, device)),
            config: config.clone(),
        })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The distribution of an image's latents. [Scale](VaeConfig::scale) what is drawn from it.
    ///
    /// # Shapes
    /// - image `[B, 3, H, W]` in [-1, 1], H and W at least 8 → moments `[B, 4, ⌊H/8⌋, ⌊W/8⌋]`, in the type that is
    ///   computed in
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
        let x = image.cast(self.encoder.conv_in.activation_dtype());
        let moments = ops::in_pool(&x.device(), || self.encoder.forward(x));
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
}

impl Layers {
    fn new(config: &VaeConfig, device: &Device) -> Self {
        let widest = config.widest();
        Self {
            conv_in: conv3x3(config.in_channels, config.block_out_channels[0], device),
            down_blocks: (0..config.levels()).map(|level| DownBlock::new(config, level, device)).collect(),
            mid_block: MidBlock::new(config, device),
            conv_norm_out: group_norm(config.norm_num_groups, widest, VaeConfig::EPS, device),
            conv_out: conv3x3(widest, 2 * config.latent_channels, device),
        }
    }

    /// `[B, in_channels, H, W]` → `[B, 2 · latent_channels, H/8, W/8]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = ops::conv2d(x, &self.conv_in);
        let x = self.down_blocks.iter().fold(x, |x, block| block.forward(x));
        let x = self.mid_block.forward(x);
        ops::conv2d(ops::group_norm_silu(x, &self.conv_norm_out), &self.conv_out)
    }
}

impl DownBlock {
    fn new(config: &VaeConfig, level: usize, device: &Device) -> Self {
        let channels = config.block_out_channels[level];
        let c_in = config.block_out_channels[level.saturating_sub(1)];
        let last = level + 1 == config.levels();
        let resnet = |i| Resnet::new(config.resnet(if i == 0 { c_in } else { channels }, channels), device);
        Self {
            resnets: (0..config.layers_per_block).map(resnet).collect(),
            downsamplers: (!last).then(|| Downsample::right_bottom(channels, device)).into_iter().collect(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.resnets.iter().fold(x, |x, resnet| resnet.forward(x, None));
        self.downsamplers.iter().fold(x, |x, downsampler| downsampler.forward(x))
    }
}
