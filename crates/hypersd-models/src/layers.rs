//! The layers that the networks share.

pub(crate) mod attention;
pub(crate) mod context;
pub(crate) mod resample;
pub(crate) mod resnet;
pub(crate) mod timestep;
pub(crate) mod transformer;

pub(crate) use crate::weights::{Conv2d, Linear};

use burn::{
    nn::{GroupNorm, GroupNormConfig},
    tensor::Device,
};

/// One pixel of padding on every side, with which a 3x3 convolution keeps the image's size.
pub(crate) const SAME: [(usize, usize); 2] = [(1, 1); 2];

/// A 3x3 convolution that keeps the image's size.
pub(crate) fn conv3x3(c_in: usize, c_out: usize, device: &Device) -> Conv2d {
    Conv2d::new([c_in, c_out], 3, device).with_padding(SAME)
}

/// A 1x1 convolution.
pub(crate) fn conv1x1(c_in: usize, c_out: usize, device: &Device) -> Conv2d {
    Conv2d::new([c_in, c_out], 1, device)
}

/// A group normalisation.
pub(crate) fn group_norm(groups: usize, channels: usize, eps: f64, device: &Device) -> GroupNorm {
    GroupNormConfig::new(groups, channels).with_epsilon(eps).init(device)
}
