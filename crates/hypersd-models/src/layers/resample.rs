//! Halving and doubling of images.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;

use crate::{
    layers::{Conv2d, SAME, conv3x3},
    ops,
};

/// A 3x3 convolution of stride 2 (`Downsample2D`).
#[derive(Debug, Clone)]
pub(crate) struct Downsample {
    conv: Conv2d,
}

slots!(Downsample { conv });

impl Downsample {
    /// The UNet's: one pixel of padding on every side, `H` → `⌈H / 2⌉`.
    pub(crate) fn symmetric(channels: usize, device: &Device) -> Self {
        Self::new(channels, SAME, device)
    }

    /// The VAE's: one pixel of padding at the right and the bottom only, `H` → `⌊H / 2⌋`.
    pub(crate) fn right_bottom(channels: usize, device: &Device) -> Self {
        Self::new(channels, [(0, 1); 2], device)
    }

    fn new(channels: usize, padding: [(usize, usize); 2], device: &Device) -> Self {
        Self { conv: Conv2d::new([channels, channels], 3, device).with_stride(2).with_padding(padding) }
    }

    /// `[B, C, H, W]` → `[B, C, H/2, W/2]`, rounded as the padding says.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv2d(x, &self.conv)
    }
}

/// Nearest-neighbour doubling, then a 3x3 convolution (`Upsample2D`).
#[derive(Debug, Clone)]
pub(crate) struct Upsample {
    conv: Conv2d,
}

slots!(Upsample { conv });

impl Upsample {
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: conv3x3(channels, channels, device) }
    }

    /// `[B, C, H, W]` → `[B, C, 2H, 2W]`
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, h, w] = x.dims();
        self.forward_to(x, [2 * h, 2 * w])
    }

    /// `[B, C, H, W]` → `[B, C, h, w]`, where `size` is `[h, w]`: the size before a [`Downsample::symmetric`], so
    /// each is twice the input's or one less.
    pub(crate) fn forward_to(&self, x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        ops::upsample_conv2d(x, size, &self.conv)
    }
}
