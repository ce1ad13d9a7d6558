//! Down, middle and up blocks. ControlNets are made of the first two as well.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;

use crate::{
    layers::{
        context::Context,
        resample::{Downsample, Upsample},
        resnet::{Resnet, ResnetShape},
        transformer::{Transformer, TransformerShape},
    },
    ops::Joined,
    unet::config::UNetConfig,
};

/// Resnets, each followed by attention where the level has it, then a downsampler
/// (`CrossAttnDownBlock2D`, `DownBlock2D`).
#[derive(Debug, Clone)]
pub(crate) struct DownBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Transformer>,
    downsamplers: Vec<Downsample>,
}

slots!(DownBlock { resnets, attentions, downsamplers });

impl DownBlock {
    /// All down blocks of a network, the largest image first.
    pub(crate) fn all(config: &UNetConfig, device: &Device) -> Vec<Self> {
        (0..config.levels()).map(|level| Self::new(config, level, device)).collect()
    }

    fn new(config: &UNetConfig, level: usize, device: &Device) -> Self {
        let c_out = config.block_out_channels[level];
        let c_in = config.block_out_channels[level.saturating_sub(1)];
        let layers = config.layers_per_block.at(level);
        let attentions = if config.attends_down(level) { layers } else { 0 };
        let last = level + 1 == config.levels();
        Self {
            resnets: (0..layers)
                .map(|i| Resnet::new(resnet(config, if i == 0 { c_in } else { c_out }, c_out), device))
                .collect(),
            attentions: (0..attentions)
                .map(|site| config.depth_down(level, site))
                .map(|depth| Transformer::new(transformer(config, level, depth), device))
                .collect(),
            downsamplers: (!last).then(|| Downsample::symmetric(c_out, device)).into_iter().collect(),
        }
    }

    /// `emb` comes from [`Embedder::embed`](super::condition::Embedder::embed). Every intermediate image is pushed to `skips`.
    ///
    /// # Shapes
    /// - x `[B, C_in, H, W]`, emb `[B, E]` → `[B, C, ⌈H/2⌉, ⌈W/2⌉]`; the last block keeps the size
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        emb: &Tensor<2>,
        context: &Context,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, Some(emb));
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, context);
            }
            skips.push(x.clone());
        }
        for downsampler in &self.downsamplers {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// Resnet, attention, resnet (`UNetMidBlock2DCrossAttn`), or a resnet alone (`UNetMidBlock2D` as SSD-1B has it).
#[derive(Debug, Clone)]
pub(crate) struct MidBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Transformer>,
}

slots!(MidBlock { resnets, attentions });

impl MidBlock {
    /// The middle block of a network.
    pub(crate) fn new(config: &UNetConfig, device: &Device) -> Self {
        let level = config.levels() - 1;
        let channels = config.block_out_channels[level];
        let attentions = usize::from(config.attends_mid());
        let new_resnet = |_| Resnet::new(resnet(config, channels, channels), device);
        let new_attention =
            |_| Transformer::new(transformer(config, level, config.depth_down(level, 0)), device);
        Self {
            resnets: (0..=attentions).map(new_resnet).collect(),
            attentions: (0..attentions).map(new_attention).collect(),
        }
    }

    /// # Shapes
    /// - x `[B, C, H, W]`, emb `[B, E]` → `[B, C, H, W]`
    pub(crate) fn forward(&self, mut x: Tensor<4>, emb: &Tensor<2>, context: &Context) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            if let Some(attention) = i.checked_sub(1).and_then(|before| self.attentions.get(before)) {
                x = attention.forward(x, context);
            }
            x = resnet.forward(x, Some(emb));
        }
        x
    }
}

/// Resnets that take a skip connection each, with attention where the level has it, then an upsampler
/// (`CrossAttnUpBlock2D`, `UpBlock2D`).
#[derive(Debug, Clone)]
pub(crate) struct UpBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Transformer>,
    upsamplers: Vec<Upsample>,
}

slots!(UpBlock { resnets, attentions, upsamplers });

impl UpBlock {
    /// All up blocks of a network, the smallest image first.
    pub(crate) fn all(config: &UNetConfig, device: &Device) -> Vec<Self> {
        // The channels of the skips in the order they are made; the blocks take them from the end.
        let mut skips = config.skip_channels();
        let mut c_in = config.block_out_channels[config.levels() - 1];
        let mut blocks = Vec::new();
        for level in (0..config.levels()).rev() {
            let c_out = config.block_out_channels[level];
            let skips = skips.split_off(skips.len() - (config.layers_per_block.at(level) + 1));
            blocks.push(Self::new(config, level, c_in, &skips, device));
            c_in = c_out;
        }
        blocks
    }

    fn new(config: &UNetConfig, level: usize, c_in: usize, skips: &[usize], device: &Device) -> Self {
        let c_out = config.block_out_channels[level];
        let attentions = if config.attends_up(level) { skips.len() } else { 0 };
        Self {
            resnets: skips
                .iter()
                .rev()
                .enumerate()
                .map(|(i, skip)| if i == 0 { c_in + skip } else { c_out + skip })
                .map(|c_in| Resnet::new(resnet(config, c_in, c_out), device))
                .collect(),
            attentions: (0..attentions)
                .map(|site| config.depth_up(level, site))
                .map(|depth| Transformer::new(transformer(config, level, depth), device))
                .collect(),
            upsamplers: (level > 0).then(|| Upsample::new(c_out, device)).into_iter().collect(),
        }
    }

    /// Takes one skip for every resnet from the end of `skips` and enlarges to the size of the one before them.
    ///
    /// # Shapes
    /// - x `[B, C_in, H, W]`, emb `[B, E]` → `[B, C, 2H, 2W]`; the last block keeps the size
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        emb: &Tensor<2>,
        context: &Context,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        let taken = skips.split_off(skips.len() - self.resnets.len());
        for (i, (resnet, skip)) in self.resnets.iter().zip(taken.into_iter().rev()).enumerate() {
            x = resnet.forward_joined(Joined::new(x, skip), Some(emb));
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, context);
            }
        }
        for (upsampler, next) in self.upsamplers.iter().zip(skips.last()) {
            let [_, _, h, w] = next.dims();
            x = upsampler.forward_to(x, [h, w]);
        }
        x
    }
}

fn resnet(config: &UNetConfig, c_in: usize, c_out: usize) -> ResnetShape {
    ResnetShape {
        c_in,
        c_out,
        time_width: Some(config.time_embed_width()),
        norm_groups: config.norm_num_groups,
        eps: config.norm_eps,
    }
}

fn transformer(config: &UNetConfig, level: usize, depth: usize) -> TransformerShape {
    TransformerShape {
        channels: config.block_out_channels[level],
        context_width: config.cross_attention_dim.at(level),
        heads: config.heads(level),
        depth,
        linear_projection: config.use_linear_projection,
        norm_groups: config.norm_num_groups,
    }
}
