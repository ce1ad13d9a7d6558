//! The configuration that makes an autoencoder SD1.5's or SDXL's.

use serde::Deserialize;

use crate::{error::Error, layers::resnet::ResnetShape};

/// The fields of a `config.json` that shape the autoencoder, with diffusers' names and meanings.
///
/// Absent fields take Stable Diffusion's values, which are those of [`sd15`](Self::sd15); diffusers' own defaults
/// make a network that nobody has trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of the image that is encoded.
    pub in_channels: usize,
    /// Channels of the image that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of the levels, the largest image first. Its length is the number of levels.
    pub block_out_channels: Vec<usize>,
    /// `DownEncoderBlock2D` for each level.
    pub down_block_types: Vec<String>,
    /// `UpDecoderBlock2D` for each level.
    pub up_block_types: Vec<String>,
    /// Resnets of a block of the encoder; one of the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Activation; only `silu` is known.
    pub act_fn: String,
    /// Latents are multiplied by it after encoding and divided before decoding.
    pub scaling_factor: f64,
    /// Subtracted from latents before the scaling.
    pub shift_factor: Option<f64>,
    /// Mean of each channel of the latents, in place of `shift_factor`; goes with `latents_std`.
    pub latents_mean: Option<Vec<f32>>,
    /// Standard deviation of each channel of the latents.
    pub latents_std: Option<Vec<f32>>,
    /// Side in pixels of the pictures that the network was trained on: the size of a tile.
    pub sample_size: usize,
    /// True where the network overflows in f16 and must run in f32 or bf16, as SDXL's does.
    pub force_upcast: bool,
    /// True where a 1x1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// True where a 1x1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// True where the middle blocks attend.
    pub mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![128, 256, 512, 512],
            down_block_types: vec!["DownEncoderBlock2D".into(); 4],
            up_block_types: vec!["UpDecoderBlock2D".into(); 4],
            layers_per_block: 2,
            norm_num_groups: 32,
            act_fn: "silu".into(),
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            sample_size: 512,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    /// Epsilon of every normalisation; not in the configuration.
    pub(crate) const EPS: f64 = 1e-6;

    /// Stable Diffusion 1.x and 2.x, as in `vae/config.json` of stable-diffusion-v1-5/stable-diffusion-v1-5.
    #[must_use]
    pub fn sd15() -> Self {
        Self::default()
    }

    /// SDXL base 1.0, as in `vae/config.json` of stabilityai/stable-diffusion-xl-base-1.0.
    #[must_use]
    pub fn sdxl() -> Self {
        Self { scaling_factor: 0.13025, sample_size: 1024, ..Self::default() }
    }

    /// The number of times that the latents are smaller than the image along each side: 8.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << (self.levels() - 1)
    }

    /// The same with what no shape says from `own`: the latents' scale, the size of a tile, and whether f16 is enough.
    #[must_use]
    pub fn completed_by(&self, own: &Self) -> Self {
        let channels = |numbers: &Option<Vec<f32>>| {
            numbers.clone().filter(|numbers| numbers.len() == self.latent_channels)
        };
        Self {
            scaling_factor: own.scaling_factor,
            shift_factor: own.shift_factor,
            latents_mean: channels(&own.latents_mean),
            latents_std: channels(&own.latents_std),
            sample_size: own.sample_size,
            force_upcast: own.force_upcast,
            ..self.clone()
        }
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
            ("norm_num_groups", self.norm_num_groups),
        ];
        for (field, number) in numbers {
            require(field, number, in_range(number), "1 to 65536")?;
        }
        let layers = self.layers_per_block;
        require("layers_per_block", layers, (1..=64).contains(&layers), "1 to 64")?;
        let channels = &self.block_out_channels;
        let multiple = |c: &usize| in_range(*c) && c.is_multiple_of(self.norm_num_groups);
        require(
            "block_out_channels",
            channels,
            (1..=8).contains(&channels.len()) && channels.iter().all(multiple),
            "1 to 8 numbers to 65536, multiples of norm_num_groups",
        )?;
        let types = [
            ("down_block_types", &self.down_block_types, "DownEncoderBlock2D"),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ];
        for (field, found, known) in types {
            let right = found.len() == self.levels() && found.iter().all(|name| name == known);
            require(field, found, right, &format!("{known} for each of block_out_channels"))?;
        }
        require("act_fn", &self.act_fn, ["silu", "swish"].contains(&self.act_fn.as_str()), "silu")?;
        let scale = self.scaling_factor;
        require("scaling_factor", scale, scale.is_normal(), "a number other than 0")?;
        for (field, numbers) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            let right = numbers.as_ref().is_none_or(|numbers| numbers.len() == self.latent_channels);
            require(field, numbers, right, "null or one number for each of latent_channels")?;
        }
        let both = self.latents_mean.is_some() == self.latents_std.is_some();
        require("latents_std", &self.latents_std, both, "null exactly when latents_mean is")
    }

    pub(crate) fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Channels of the smallest image.
    pub(crate) fn widest(&self) -> usize {
        self.block_out_channels[self.levels() - 1]
    }

    pub(super) fn resnet(&self, c_in: usize, c_out: usize) -> ResnetShape {
        ResnetShape { c_in, c_out, time_width: None, norm_groups: self.norm_num_groups, eps: Self::EPS }
    }
}

fn require(field: &str, found: impl serde::Serialize, holds: bool, expected: &str) -> Result<(), Error> {
    Error::require("VAE", field, found, holds, expected)
}
