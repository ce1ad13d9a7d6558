//! The sequence of layers that each half is.

use burn::tensor::{Device, FloatDType, Tensor};
use hypersd_core::{SlotList, Slots, slots};

use crate::{
    layers::{Conv2d, conv3x3},
    ops,
    tiny_vae::config::TinyVaeConfig,
};

/// A sequence of layers; their indices are part of the parameters' names.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    layers: Vec<Layer>,
}

slots!(Layers { layers });

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a network has some forty, and they do not move")]
enum Layer {
    Conv(Conv2d),
    Block(Block),
    Relu,
    /// Doubles height and width.
    Upsample,
}

slots!(Layer: Conv | Block; Relu | Upsample);

/// Three convolutions beside a shortcut (`AutoencoderTinyBlock`), each with a ReLU behind it.
#[derive(Debug, Clone)]
struct Block {
    conv: [Conv2d; 3],
}

/// The activations between the convolutions count too.
impl Slots for Block {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        let Self { conv } = self;
        for (i, conv) in conv.iter_mut().enumerate() {
            list.field(format!("conv.{}", 2 * i), conv);
        }
    }
}

impl Layers {
    pub(super) fn encoder(config: &TinyVaeConfig, device: &Device) -> Self {
        let channels = config.encoder_block_out_channels[0];
        let halve = || conv3x3(channels, channels, device).with_stride(2).without_bias();
        let mut layers = Vec::new();
        for (level, &blocks) in config.num_encoder_blocks.iter().enumerate() {
            layers.push(Layer::Conv(match level {
                0 => conv3x3(config.in_channels, channels, device),
                _ => halve(),
            }));
            layers.extend((0..blocks).map(|_| Layer::Block(Block::new(channels, device))));
        }
        layers.push(Layer::Conv(conv3x3(channels, config.latent_channels, device)));
        Self { layers }
    }

    pub(super) fn decoder(config: &TinyVaeConfig, device: &Device) -> Self {
        let channels = config.decoder_block_out_channels[0];
        let smooth = || conv3x3(channels, channels, device).without_bias();
        let mut layers = vec![Layer::Conv(conv3x3(config.latent_channels, channels, device)), Layer::Relu];
        for (level, &blocks) in config.num_decoder_blocks.iter().enumerate() {
            if level > 0 {
                layers.extend([Layer::Upsample, Layer::Conv(smooth())]);
            }
            layers.extend((0..blocks).map(|_| Layer::Block(Block::new(channels, device))));
        }
        layers.push(Layer::Conv(conv3x3(channels, config.out_channels, device)));
        Self { layers }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        (0..self.stages()).fold(x, |x, index| self.stage(index, x))
    }

    /// The number of parts that are of one size each.
    pub(super) fn stages(&self) -> usize {
        self.parts().count()
    }

    /// The layers of a part, an enlargement and what follows it; none beyond the last.
    pub(super) fn stage(&self, index: usize, x: Tensor<4>) -> Tensor<4> {
        match self.parts().nth(index) {
            Some(layers) => Self::through(layers, x),
            None => x,
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[Layer]> {
        self.layers.chunk_by(|_, next| !matches!(next, Layer::Upsample))
    }

    fn through(layers: &[Layer], mut x: Tensor<4>) -> Tensor<4> {
        let mut layers = layers.iter();
        while let Some(layer) = layers.next() {
            x = match layer {
                Layer::Conv(conv) => ops::conv2d(x, conv),
                Layer::Block(block) => block.forward(x),
                Layer::Relu => ops::relu(x),
                Layer::Upsample => {
                    let Some(Layer::Conv(conv)) = layers.next() else {
                        unreachable!("`decoder` has a convolution follow")
                    };
                    let [_, _, h, w] = x.dims();
                    ops::upsample_conv2d(x, [2 * h, 2 * w], conv)
                }
            };
        }
        x
    }

    pub(super) fn dtype(&self) -> FloatDType {
        let conv = self.layers.iter().find_map(|layer| match layer {
            Layer::Conv(conv) => Some(conv),
            _ => None,
        });
        conv.map_or(FloatDType::F32, Conv2d::activation_dtype)
    }
}

impl Block {
    fn new(channels: usize, device: &Device) -> Self {
        let conv = || conv3x3(channels, channels, device);
        Self { conv: [conv(), conv(), conv()] }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [first, second, third] = &self.conv;
        let h = ops::relu(ops::conv2d(x.clone(), first));
        let h = ops::relu(ops::conv2d(h, second));
        ops::relu(ops::add(ops::conv2d(h, third), x))
    }
}
