//! Images to the moments of their latents.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    layers::{Conv2d, conv3x3, group_norm, resample::Downsample, resnet::Resnet},
    ops,
    vae::{config::VaeConfig, mid::MidBlock},
};

/// The encoder without its last 1x1 convolution.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

slots!(Encoder { conv_in, down_blocks, mid_block, conv_norm_out, conv_out });

/// `DownEncoderBlock2D`.
#[derive(Debug, Clone)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsamplers: Vec<Downsample>,
}

slots!(DownBlock { resnets, downsamplers });

impl Encoder {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
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
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
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
