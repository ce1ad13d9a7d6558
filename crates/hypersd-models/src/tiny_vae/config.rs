//! The configuration of a tiny autoencoder.

use serde::Deserialize;

use crate::error::Error;

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
    /// The number that latents are divided by before decoding: 1, for the network works in the sampler's scale.
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
    /// The number of times that the latents are smaller than the image along each side: 8.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.num_encoder_blocks.len().saturating_sub(1)
    }

    /// Checks that the network can be built. Both halves call this when they are made.
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

fn require(field: &str, found: impl serde::Serialize, holds: bool, expected: &str) -> Result<(), Error> {
    Error::require("tiny VAE", field, found, holds, expected)
}
