//! The residual block of UNet and VAE.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    layers::{Conv2d, Linear, conv1x1, conv3x3, group_norm},
    ops::{self, Joined},
};

/// The shape of a residual block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResnetShape {
    pub(crate) c_in: usize,
    pub(crate) c_out: usize,
    /// Width of the time embedding; the VAE has none.
    pub(crate) time_width: Option<usize>,
    pub(crate) norm_groups: usize,
    pub(crate) eps: f64,
}

/// Two normalised convolutions beside a shortcut (diffusers' `ResnetBlock2D`).
#[derive(Debug, Clone)]
pub(crate) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

slots!(Resnet { norm1, conv1, time_emb_proj, norm2, conv2, conv_shortcut });

impl Resnet {
    pub(crate) fn new(shape: ResnetShape, device: &Device) -> Self {
        let ResnetShape { c_in, c_out, time_width, norm_groups, eps } = shape;
        Self {
            norm1: group_norm(norm_groups, c_in, eps, device),
            conv1: conv3x3(c_in, c_out, device),
            time_emb_proj: time_width.map(|width| Linear::new(width, c_out, device)),
            norm2: group_norm(norm_groups, c_out, eps, device),
            conv2: conv3x3(c_out, c_out, device),
            conv_shortcut: (c_in != c_out).then(|| conv1x1(c_in, c_out, device)),
        }
    }

    /// `emb` is the time embedding after its SiLU, which every block of a UNet shares.
    ///
    /// # Shapes
    /// - x `[B, c_in, H, W]`, emb `[B, time_width]` → `[B, c_out, H, W]`
    pub(crate) fn forward(&self, x: Tensor<4>, emb: Option<&Tensor<2>>) -> Tensor<4> {
        // A convolution of the shortcut comes first, so that the norm has x for itself and may write into it: x can be
        // the largest tensor of the VAE.
        let (x, shortcut) = match &self.conv_shortcut {
            Some(conv) => (x.clone(), ops::conv2d(x, conv)),
            None => (x.clone(), x),
        };
        self.residual(ops::group_norm_silu(x, &self.norm1), emb, shortcut)
    }

    /// [`forward`](Self::forward) of an x with a skip connection.
    pub(crate) fn forward_joined(&self, x: Joined, emb: Option<&Tensor<2>>) -> Tensor<4> {
        let Some(conv) = &self.conv_shortcut else { return self.forward(x.whole(), emb) };
        let shortcut = ops::conv2d_joined(x.clone(), conv);
        self.residual(ops::group_norm_silu_joined(x, &self.norm1), emb, shortcut)
    }

    /// All that comes after the first norm, added to the shortcut.
    fn residual(&self, h: Tensor<4>, emb: Option<&Tensor<2>>, shortcut: Tensor<4>) -> Tensor<4> {
        let h = match (&self.time_emb_proj, emb) {
            (Some(proj), Some(emb)) => ops::conv2d_shift(h, &self.conv1, ops::linear(emb.clone(), proj)),
            _ => ops::conv2d(h, &self.conv1),
        };
        let h = ops::group_norm_silu(h, &self.norm2);
        ops::conv2d_add(h, &self.conv2, shortcut)
    }
}
