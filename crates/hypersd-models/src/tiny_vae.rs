//! TAESD: an autoencoder of 2.4 million parameters for the same latents (`AutoencoderTiny`).
//!
//! It decodes a picture in a fraction of the [`Vae`](crate::vae::Vae)'s time, with some loss of detail, and speaks
//! the sampler's latents: there is nothing to scale.

use burn::tensor::{Device, FloatDType, Tensor};
use hypersd_core::{SlotList, Slots, slots};
use serde::Deserialize;

use crate::{
    error::{Error, check_shape},
    layers::{Conv2d, conv3x3},
    ops,
    weights::Weight,
};

/// The fields of a `config.json` that shape the autoencoder, with diffusers' names, meanings and defaults, which
/// are those of `madebyollin/taesd` and `madebyollin/taesdxl`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TinyVaeConfig {
    /// Channels of the image that is encoded.
    pub in_channels: usize,
    /// Channels of the image that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of the encoder's levels; all the same.
    pub encoder_block_out_channels: Vec<usize>,
    /// Channels of the decoder's levels; all the same.
    pub decoder_block_out_channels: Vec<usize>,
    /// Residual blocks of the encoder's levels, the largest image first.
    pub num_encoder_blocks: Vec<usize>,
    /// Residual blocks of the decoder's levels, the smallest image first.
    pub num_decoder_blocks: Vec<usize>,
    /// Activation; only `relu` is known.
    pub act_fn: String,
    /// Enlargement; only `nearest` is known.
    pub upsample_fn: String,
    /// Enlargement of a level; only 2 is known.
    pub upsampling_scaling_factor: usize,
    /// What latents are divided by before decoding: 1, for the network works in the sampler's scale.
    pub scaling_factor: f64,
}

impl Default for TinyVaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            act_fn: "relu".into(),
            upsample_fn: "nearest".into(),
            upsampling_scaling_factor: 2,
            scaling_factor: 1.0,
        }
    }
}

impl TinyVaeConfig {
    /// Checks that the network can be built. [`TinyVae::new`] calls this.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<(), Error> {
        let in_range = |n: usize| (1..=1 << 16).contains(&n);
        let numbers = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("latent_channels", self.latent_channels),
        ];
        for (field, number) in numbers {
            require(field, number, in_range(number), "1 to 65536")?;
        }
        let levels = self.num_encoder_blocks.len();
        let halves = [
            ("encoder_block_out_channels", &self.encoder_block_out_channels),
            ("decoder_block_out_channels", &self.decoder_block_out_channels),
        ];
        for (field, channels) in halves {
            let same = channels.iter().all(|&c| in_range(c) && c == channels[0]);
            require(field, channels, channels.len() == levels && same, "the same number for each level")?;
        }
        let blocks = [
            ("num_encoder_blocks", &self.num_encoder_blocks),
            ("num_decoder_blocks", &self.num_decoder_blocks),
        ];
        for (field, blocks) in blocks {
            let right =
                (1..=8).contains(&levels) && blocks.len() == levels && blocks.iter().all(|&n| n <= 64);
            require(field, blocks, right, "1 to 8 levels of at most 64 blocks, as many for both halves")?;
        }
        require("act_fn", &self.act_fn, self.act_fn == "relu", "relu")?;
        require("upsample_fn", &self.upsample_fn, self.upsample_fn == "nearest", "nearest")?;
        let factor = self.upsampling_scaling_factor;
        require("upsampling_scaling_factor", factor, factor == 2, "2")?;
        let scale = self.scaling_factor;
        require("scaling_factor", scale, scale == 1.0, "1, the scale of the sampler's latents")
    }
}

fn require(field: &str, found: impl std::fmt::Debug, holds: bool, expected: &str) -> Result<(), Error> {
    Error::require("tiny VAE", field, found, holds, expected)
}

/// diffusers' `AutoencoderTiny`. Field names are diffusers' names, so that parameter paths are its keys.
#[derive(Debug, Clone)]
pub struct TinyVae {
    encoder: Layers,
    decoder: Layers,
    config: TinyVaeConfig,
}

slots!(TinyVae { encoder, decoder; config });

impl TinyVae {
    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`TinyVaeConfig::validate`] refuses.
    pub fn new(config: &TinyVaeConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            encoder: Layers::encoder(config, device),
            decoder: Layers::decoder(config, device),
            config: config.clone(),
        })
    }

    /// What the network was built from.
    #[must_use]
    pub fn config(&self) -> &TinyVaeConfig {
        &self.config
    }

    /// The latents of an image, in the scale of the sampler.
    ///
    /// # Shapes
    /// - image `[B, 3, H, W]` in [-1, 1] → `[B, 4, ⌈H/8⌉, ⌈W/8⌉]`, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's.
    pub fn encode(&self, image: Tensor<4>) -> Result<Tensor<4>, Error> {
        check_shape("image", image.dims(), [None, Some(self.config.in_channels), None, None])?;
        let unit = (image.cast(self.encoder.dtype()) + 1.0) / 2.0; // the network works on images in [0, 1]
        Ok(self.encoder.forward(unit))
    }

    /// The image of latents as a sampler leaves them.
    ///
    /// # Shapes
    /// - latents `[B, 4, h, w]` → `[B, 3, 8h, 8w]`, about [-1, 1] but not clamped, in the type that is computed in
    ///
    /// # Errors
    /// [`Error::Shape`] for other channels than the configuration's.
    pub fn decode(&self, latents: Tensor<4>) -> Result<Tensor<4>, Error> {
        check_shape("latents", latents.dims(), [None, Some(self.config.latent_channels), None, None])?;
        let x = (latents.cast(self.decoder.dtype()) / 3.0).tanh() * 3.0; // a soft clamp to [-3, 3]
        Ok(self.decoder.forward(x) * 2.0 - 1.0)
    }
}

/// A sequence of layers; their indices are part of the parameters' names.
#[derive(Debug, Clone)]
struct Layers {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a network has some forty, and they do not move")]
enum Layer {
    Conv(Conv2d),
    Block(Block),
    Relu,
    /// Doubles height and width.
    Upsample,
}

/// Three convolutions beside a shortcut (`AutoencoderTinyBlock`), with a ReLU behind each.
#[derive(Debug, Clone)]
struct Block {
    conv: [Conv2d; 3],
}

slots!(Layers { layers });

impl Slots for Layer {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        match self {
            Self::Conv(conv) => conv.slots(list),
            Self::Block(block) => block.slots(list),
            Self::Relu | Self::Upsample => {}
        }
    }
}

/// diffusers counts the activations too.
impl Slots for Block {
    fn slots<'a>(&'a mut self, list: &mut SlotList<'a>) {
        let Self { conv } = self;
        for (i, conv) in conv.iter_mut().enumerate() {
            list.field(format!("conv.{}", 2 * i), conv);
        }
    }
}

impl Layers {
    fn encoder(config: &TinyVaeConfig, device: &Device) -> Self {
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

    fn decoder(config: &TinyVaeConfig, device: &Device) -> Self {
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

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        let mut layers = self.layers.iter();
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

    fn dtype(&self) -> FloatDType {
        let weight = self.layers.iter().find_map(|layer| match layer {
            Layer::Conv(conv) => Some(&conv.weight),
            _ => None,
        });
        weight.map_or(FloatDType::F32, Weight::activation_dtype)
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
