//! The sequence of layers that each half is.

use burn::{
    module::Module,
    nn::{PaddingConfig2d, Relu, conv::Conv2d, conv::Conv2dConfig},
    tensor::{Device, FloatDType, Tensor},
};

use crate::{layers::conv3x3, ops, tiny_vae::config::TinyVaeConfig};

/// A sequence of layers; their indices are part of the parameters' names.
#[derive(Module, Debug)]
pub(super) struct Layers {
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has some forty, and they do not move")]
enum Layer {
    Conv(Conv2d),
    Block(Block),
    Relu(Relu),
    Upsample(Upsample),
}

/// Doubles height and width.
#[derive(Module, Debug)]
struct Upsample {}

/// Three convolutions beside a shortcut (`AutoencoderTinyBlock`).
#[derive(Module, Debug)]
struct Block {
    conv: (Conv2d, Relu, Conv2d, Relu, Conv2d),
}

impl Layers {
    pub(super) fn encoder(config: &TinyVaeConfig, device: &Device) -> Self {
        let channels = config.encoder_block_out_channels[0];
        let halve = Conv2dConfig::new([channels, channels], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        let mut layers = Vec::new();
        for (level, &blocks) in config.num_encoder_blocks.iter().enumerate() {
            layers.push(Layer::Conv(match level {
                0 => conv3x3(config.in_channels, channels, device),
                _ => halve.init(device),
            }));
            layers.extend((0..blocks).map(|_| Layer::Block(Block::new(channels, device))));
        }
        layers.push(Layer::Conv(conv3x3(channels, config.latent_channels, device)));
        Self { layers }
    }

    pub(super) fn decoder(config: &TinyVaeConfig, device: &Device) -> Self {
        let channels = config.decoder_block_out_channels[0];
        let smooth = Conv2dConfig::new([channels, channels], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        let mut layers =
            vec![Layer::Conv(conv3x3(config.latent_channels, channels, device)), Layer::Relu(Relu::new())];
        for (level, &blocks) in config.num_decoder_blocks.iter().enumerate() {
            if level > 0 {
                layers.extend([Layer::Upsample(Upsample {}), Layer::Conv(smooth.init(device))]);
            }
            layers.extend((0..blocks).map(|_| Layer::Block(Block::new(channels, device))));
        }
        layers.push(Layer::Conv(conv3x3(channels, config.out_channels, device)));
        Self { layers }
    }

    pub(super) fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        let mut layers = self.layers.iter();
        while let Some(layer) = layers.next() {
            x = match layer {
                Layer::Conv(conv) => ops::conv2d(x, conv),
                Layer::Block(block) => block.forward(x),
                Layer::Relu(_) => ops::relu(x),
                Layer::Upsample(_) => {
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
        let weight = self.layers.iter().find_map(|layer| match layer {
            Layer::Conv(conv) => Some(&conv.weight),
            _ => None,
        });
        weight.map_or(FloatDType::F32, ops::dtype_beside)
    }
}

impl Block {
    fn new(channels: usize, device: &Device) -> Self {
        let conv = || conv3x3(channels, channels, device);
        Self { conv: (conv(), Relu::new(), conv(), Relu::new(), conv()) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (first, _, second, _, third) = &self.conv;
        let h = ops::relu(ops::conv2d(x.clone(), first));
        let h = ops::relu(ops::conv2d(h, second));
        ops::relu(ops::add(ops::conv2d(h, third), x))
    }
}
