//! The middle of encoder and decoder: the only place where the VAE attends.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    layers::{Linear, group_norm, resnet::Resnet},
    ops,
    vae::config::VaeConfig,
};

/// Resnet, attention, resnet (`UNetMidBlock2D`).
#[derive(Debug, Clone)]
pub(super) struct MidBlock {
    resnets: [Resnet; 2],
    attentions: Vec<Attention>,
}

slots!(MidBlock { resnets, attentions });

impl MidBlock {
    pub(super) fn new(config: &VaeConfig, device: &Device) -> Self {
        let channels = config.widest();
        let resnet = || Resnet::new(config.resnet(channels, channels), device);
        let attention = || Attention::new(config, device);
        Self {
            resnets: [resnet(), resnet()],
            attentions: config.mid_block_add_attention.then(attention).into_iter().collect(),
        }
    }

    /// `[B, C, H, W]` → `[B, C, H, W]`
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, last] = &self.resnets;
        let x = first.forward(x, None);
        let x = self.attentions.iter().fold(x, |x, attention| attention.forward(x));
        last.forward(x, None)
    }
}

/// Every pixel attends to every other, with one head as wide as the image has channels.
#[derive(Debug, Clone)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
}

slots!(Attention { group_norm, to_q, to_k, to_v, to_out });

impl Attention {
    fn new(config: &VaeConfig, device: &Device) -> Self {
        let channels = config.widest();
        let project = || Linear::new(channels, channels, device);
        Self {
            group_norm: group_norm(config.norm_num_groups, channels, VaeConfig::EPS, device),
            to_q: project(),
            to_k: project(),
            to_v: project(),
            to_out: [project()],
        }
    }

    /// `[B, C, H, W]` → `[B, C, H, W]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, c, h, w] = x.dims();
        let tokens = ops::group_norm(x.clone(), &self.group_norm).flatten::<3>(2, 3).swap_dims(1, 2);
        let q = ops::linear(tokens.clone(), &self.to_q);
        let k = ops::linear(tokens.clone(), &self.to_k);
        let v = ops::linear(tokens, &self.to_v);
        let tokens = ops::linear(ops::attention_of(q, k, v, 1, &self.to_q), &self.to_out[0]);
        ops::add(tokens.swap_dims(1, 2).reshape([b, c, h, w]), x)
    }
}
