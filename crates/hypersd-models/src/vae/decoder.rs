//! Latents to images.

use burn::{
    nn::GroupNorm,
    tensor::{Device, FloatDType, Tensor},
};
use hypersd_core::slots;

use crate::{
    layers::{Conv2d, conv3x3, group_norm, resample::Upsample, resnet::Resnet},
    ops,
    vae::{config::VaeConfig, mid::MidBlock},
};

/// The decoder without its first 1x1 convolution.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

slots!(Decoder { conv_in, mid_block, up_blocks, conv_norm_out, conv_out });

/// `UpDecoderBlock2D`: one resnet more than a block of the encoder has.
#[derive(Debug, Clone)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsamplers: Vec<Upsample>,
}

slots!(UpBlock { resnets, upsamplers });

impl Decoder {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
        let channels = config.block_out_channels[0];
        Self {
            conv_in: conv3x3(config.latent_channels, config.widest(), device),
            mid_block: MidBlock::new(config, device),
            up_blocks: (0..config.levels()).rev().map(|level| UpBlock::new(config, level, device)).collect(),
            conv_norm_out: group_norm(config.norm_num_groups, channels, VaeConfig::EPS, device),
            conv_out: conv3x3(channels, config.out_channels, device),
        }
    }

    pub(super) fn dtype(&self) -> FloatDType {
        self.conv_in.weight.activation_dtype()
    }

    /// `[B, latent_channels, h, w]` → `[B, out_channels, 8h, 8w]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.mid_block.forward(ops::conv2d(x, &self.conv_in));
        let x = self.up_blocks.iter().fold(x, |x, block| block.forward(x));
        ops::conv2d(ops::group_norm_silu(x, &self.conv_norm_out), &self.conv_out)
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
