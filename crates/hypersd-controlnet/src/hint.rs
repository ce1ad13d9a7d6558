//! From a control image to what the network sees of it.

use burn::tensor::{Device, Tensor};
use hypersd_core::{Image, slots};
use hypersd_models::ops::{self, Conv2d};

use crate::{config::ControlNetConfig, error::Error};

/// A control image, encoded for one ControlNet: the same at every step, so made once, by
/// [`ControlNet::hint`](crate::ControlNet::hint).
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
            return Err(Error::shape("hint", expected, &self.dims()));
        }
        Ok(if own == batch { self.0.clone() } else { self.0.clone().repeat_dim(0, batch / own) })
    }
}

/// The size that a picture has when only its control image is given: the image's, each side rounded down to a
/// multiple of 8. Width, then height.
///
/// # Errors
/// [`hypersd_core::Error::Argument`] for an image with a side below 8.
pub fn control_size(image: &Image) -> Result<[usize; 2], Error> {
    let size = [image.width(), image.height()].map(|side| side - side % 8);
    if size.contains(&0) {
        let found = format!("{}x{}", image.width(), image.height());
        return Err(Error::argument("control image", "sides of at least 8", found));
    }
    Ok(size)
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
        let conv = |c_in: usize, c_out: usize, stride: usize| {
            Conv2d::new([c_in, c_out], 3, device).with_stride(stride).with_padding([(1, 1); 2])
        };
        let pairs = channels.iter().zip(&channels[1..]);
        Self {
            conv_in: conv(config.conditioning_channels, channels[0], 1),
            blocks: pairs.flat_map(|(&c, &next)| [conv(c, c, 1), conv(c, next, 2)]).collect(),
            conv_out: conv(channels[channels.len() - 1], config.unet.block_out_channels[0], 1),
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
