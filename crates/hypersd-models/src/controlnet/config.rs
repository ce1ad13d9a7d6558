//! The configuration that makes a ControlNet SD1.5's or SDXL's.

use hypersd_core::TensorSource;
use serde::{Deserialize, Deserializer};

use crate::{Part, error::Error, unet::UNetConfig};

/// The network's name in errors.
const NETWORK: &str = "ControlNet";

/// The order of a control image's channels that the network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first. Control images are RGB all the same: the network turns them.
    Bgr,
}

/// The fields of a `config.json` that shape the network, with diffusers' names, meanings and defaults.
///
/// Depth 0 in `unet.transformer_layers_per_block` is meant: an attention site without transformer blocks still
/// normalises and projects. The smaller SDXL ControlNets have such.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ControlNetConfig {
    /// The UNet whose first half this is. Its up blocks mirror the down blocks and are not built.
    #[serde(flatten, deserialize_with = "half")]
    pub unet: UNetConfig,
    /// Channels of the control image: 3.
    pub conditioning_channels: usize,
    /// Channels of the hint's encoder; each one after the first halves the image.
    pub conditioning_embedding_out_channels: Vec<usize>,
    /// The channel of the control image that the encoder takes first.
    pub controlnet_conditioning_channel_order: ChannelOrder,
    /// True where residuals are averaged over the picture, so that they carry its style and not its layout ("shuffle").
    pub global_pool_conditions: bool,
}

impl Default for ControlNetConfig {
    /// The defaults of diffusers' class, which stand for absent fields.
    fn default() -> Self {
        Self {
            unet: UNetConfig::default(),
            conditioning_channels: 3,
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            controlnet_conditioning_channel_order: ChannelOrder::Rgb,
            global_pool_conditions: false,
        }
    }
}

impl ControlNetConfig {
    /// For Stable Diffusion 1.5, as in `config.json` of lllyasviel/control_v11p_sd15_canny.
    #[must_use]
    pub fn sd15() -> Self {
        Self { unet: UNetConfig::sd15(), ..Self::default() }
    }

    /// For SDXL, as in `config.json` of diffusers/controlnet-canny-sdxl-1.0. The mid and small ones are smaller: read
    /// theirs.
    #[must_use]
    pub fn sdxl() -> Self {
        Self { unet: UNetConfig::sdxl(), ..Self::default() }
    }

    /// For a ControlNet whose file has no configuration, as [`SingleFile`](crate::SingleFile) found it: the
    /// hint's encoder is read off the shapes. RGB and no pooling are assumed, which no shape tells.
    ///
    /// # Errors
    /// [`hypersd_core::Error::Format`] for an encoder without a first convolution or with weights that have no axes,
    /// and what [`validate`](Self::validate) refuses.
    pub fn from_part(part: &Part<UNetConfig>) -> Result<Self, Error> {
        let block = |i: usize| format!("controlnet_cond_embedding.blocks.{i}.weight");
        let blocks = (0..).map(block).take_while(|name| part.weights.info(name).is_some());
        let halving = blocks.skip(1).step_by(2); // between them are those that keep the size
        let first = "controlnet_cond_embedding.conv_in.weight".to_string();
        let channels = std::iter::once(first.clone()).chain(halving);
        let channels = channels.map(|name| extent(&*part.weights, &name, 0));
        let config = Self {
            unet: part.config.clone(),
            conditioning_channels: extent(&*part.weights, &first, 1)?,
            conditioning_embedding_out_channels: channels.collect::<Result<_, _>>()?,
            ..Self::default()
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether residuals are averaged over the picture, by the name of a published file without its extension, as ComfyUI
    /// tells it: no shape does. `None` for a name that nobody published.
    #[must_use]
    pub fn pools_by_name(name: &str) -> Option<bool> {
        const PUBLISHED: [&str; 6] =
            ["control_v11", "control_v1p_", "control_sd15_", "control_lora_", "diffusers_xl_", "sai_xl_"];
        let name = name.to_ascii_lowercase();
        let plain = name.trim_end_matches("_fp16").trim_end_matches(".fp16");
        match plain.ends_with("shuffle") {
            true => Some(true),
            false => PUBLISHED.iter().any(|part| name.contains(part)).then_some(false),
        }
    }

    /// Checks that the network can be built. [`ControlNet::new`](super::ControlNet::new) calls this.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field: all that a UNet refuses, a class other than
    /// `ControlNetModel` (ControlNet-Union, ControlNet-XS and others are other networks), control images that are
    /// not RGB.
    pub fn validate(&self) -> Result<(), Error> {
        let class = self.unet.others.get("_class_name");
        if let Some(class) = class {
            require("_class_name", class, class == "ControlNetModel", "\"ControlNetModel\"")?;
        }
        self.unet.validate().map_err(as_controlnet)?;
        let mid = self.unet.mid_block_type.as_deref();
        require("mid_block_type", mid, mid.is_some(), "UNetMidBlock2DCrossAttn or UNetMidBlock2D")?;
        let rgb = self.conditioning_channels;
        require("conditioning_channels", rgb, rgb == 3, "3")?;
        let channels = &self.conditioning_embedding_out_channels;
        require(
            "conditioning_embedding_out_channels",
            channels,
            (1..=8).contains(&channels.len()) && channels.iter().all(|c| (1..=1 << 16).contains(c)),
            "1 to 8 numbers from 1 to 65536",
        )
    }

    /// Checks that the network guides a UNet: that both are of one family, see the same latents under the same
    /// conditioning, and that its residuals fit the UNet's own.
    ///
    /// # Errors
    /// [`Error::OtherFamily`], saying in what they differ.
    pub fn check_fits(&self, unet: &UNetConfig) -> Result<(), Error> {
        let own = &self.unet;
        let differ = |what, controlnet: String, unet: String| {
            if controlnet == unet { Ok(()) } else { Err(Error::OtherFamily { what, controlnet, unet }) }
        };
        let same = |what, of: fn(&UNetConfig) -> String| differ(what, of(own), of(unet));
        same("family", |unet| unet.family().to_string())?;
        let channels = [own.in_channels, unet.out_channels].map(|channels| channels.to_string());
        let [own_channels, channels] = channels;
        differ("number of latent channels", own_channels, channels)?;
        same("context width", |unet| unet.cross_attention_dim.at(0).to_string())?;
        same("width of added conditions", |unet| {
            format!("{:?}", unet.projection_class_embeddings_input_dim)
        })?;
        same("list of channels", |unet| format!("{:?}", unet.skip_channels()))
    }

    /// Pixels of the control image for one of the latents, in each direction: 8.
    #[must_use]
    pub fn pixels_per_latent(&self) -> usize {
        1 << self.conditioning_embedding_out_channels.len().saturating_sub(1)
    }
}

/// A UNet's fields in a file without up blocks, as a ControlNet's is; it gets those that mirror its down blocks.
fn half<'de, D: Deserializer<'de>>(file: D) -> Result<UNetConfig, D::Error> {
    let unet = UNetConfig::deserialize(file)?;
    let mirrored = |down: &String| match down.as_str() {
        "CrossAttnDownBlock2D" => "CrossAttnUpBlock2D".to_string(),
        _ => "UpBlock2D".to_string(),
    };
    let up_block_types = unet.down_block_types.iter().rev().map(mirrored).collect();
    Ok(UNetConfig { up_block_types, ..unet })
}

fn require(field: &str, found: impl serde::Serialize, holds: bool, expected: &str) -> Result<(), Error> {
    Error::require(NETWORK, field, found, holds, expected)
}

/// The same refusal, of a ControlNet.
fn as_controlnet(error: Error) -> Error {
    match error {
        Error::Config { field, expected, found, .. } => {
            Error::Config { network: NETWORK, field, expected, found }
        }
        other => other,
    }
}

/// One extent of a tensor, which may not be there or have fewer.
fn extent(weights: &dyn TensorSource, name: &str, axis: usize) -> Result<usize, hypersd_core::Error> {
    let shape = weights.info(name).map(|info| info.shape);
    let found = shape.as_ref().and_then(|shape| shape.get(axis)).copied();
    found.ok_or_else(|| hypersd_core::Error::Format {
        origin: format!("{}, tensor {name:?}", weights.origin()),
        expected: "a convolution's weight, as in every ControlNet".into(),
        found: shape.map_or_else(|| "none".into(), |shape| format!("the shape {shape:?}")),
    })
}
