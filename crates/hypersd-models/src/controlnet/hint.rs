//! Control images as a ControlNet sees them.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;

use crate::{
    controlnet::config::ControlNetConfig,
    error::Error,
    layers::{Conv2d, conv3x3},
    ops,
};

/// A control image, encoded for one ControlNet: the same at every step, so made once, by
/// [`ControlNet::hint`](super::ControlNet::hint).
#[derive(Debug, Clone)]
pub struct Hint(pub(crate) Tensor<4>);

impl Hint {
    /// The shape `[B, C, H/8, W/8]`. One of the last two is wrong if a latent has another.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        self.0.dims()
    }

    /// The hint for a batch of so many pictures, which it is repeated for.
    pub(crate) fn for_batch(&self, [batch, h, w]: [usize; 3]) -> Result<Tensor<4>, Error> {
        let [own, c, own_h, own_w] = self.dims();
        if [own_h, own_w] != [h, w] || !batch.is_multiple_of(own) {
            let expected = format!("[1 or a divisor of {batch}, {c}, {h}, {w}]");
            return Err(Error::Shape { argument: "hint", expected, found: self.dims().to_vec() });
        }
        Ok(if own == batch { self.0.clone() } else { self.0.clone().repeat_dim(0, batch / own) })
    }
}

/// diffusers' `ControlNetConditioningEmbedding`: an image of pixels becomes one of latents' size.
#[derive(Debug, Clone)]
pub(crate) struct HintEncoder {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

slots!(HintEncoder { conv_in, blocks, conv_out });

impl HintEncoder {
    pub(crate) fn new(config: &ControlNetConfig, device: &Device) -> Self {
        let channels = &config.conditioning_embedding_out_channels;
        let conv = |c_in: usize, c_out: usize| conv3x3(c_in, c_out, device);
        let pairs = channels.iter().zip(&channels[1..]);
        Self {
            conv_in: conv(config.conditioning_channels, channels[0]),
            blocks: pairs.flat_map(|(&c, &next)| [conv(c, c), conv(c, next).with_stride(2)]).collect(),
            conv_out: conv(channels[channels.len() - 1], config.unet.block_out_channels[0]),
        }
    }

    /// # Shapes
    /// - pixels `[B, 3, H, W]` in [0, 1] → `[B, C, H/8, W/8]`
    pub(crate) fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let mut x = ops::silu(ops::conv2d(pixels, &self.conv_in));
        for block in &self.blocks {
            x = ops::silu(ops::conv2d(x, block));
        }
        ops::conv2d(x, &self.conv_out)
    }
}
