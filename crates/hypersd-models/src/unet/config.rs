//! The configuration that makes a UNet SD1.5's or SDXL's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{error::Error, unet::per_level::PerLevel};

/// The fields of a `config.json` that shape the network, with diffusers' names, meanings and defaults.
///
/// Any field that is not here is in [`others`](Self::others); [`validate`](Self::validate) refuses those that
/// would change the network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Channels of the latents; 9 for inpainting.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Channels of the levels, the largest image first. Its length is the number of levels.
    pub block_out_channels: Vec<usize>,
    /// `CrossAttnDownBlock2D` or `DownBlock2D` for each level.
    pub down_block_types: Vec<String>,
    /// `CrossAttnUpBlock2D` or `UpBlock2D`, the smallest image first.
    pub up_block_types: Vec<String>,
    /// Resnets of a down block; an up block has one more.
    pub layers_per_block: PerLevel,
    /// Width of the token embeddings.
    pub cross_attention_dim: PerLevel,
    /// **Number of heads**, whatever the name says: diffusers misnamed the field and kept it.
    pub attention_head_dim: PerLevel,
    /// Transformer blocks of an attention site. The last level's is also the middle block's.
    pub transformer_layers_per_block: PerLevel,
    /// The same of the up blocks, the smallest image first, in networks whose two halves differ (SSD-1B, Segmind-Vega).
    pub reverse_transformer_layers_per_block: Option<PerLevel>,
    /// `UNetMidBlock2DCrossAttn`; `UNetMidBlock2D` for one resnet without attention (SSD-1B); `None` where there is no
    /// middle block (BK-SDM).
    pub mid_block_type: Option<String>,
    /// Width of the embedding of the guidance scale, in networks that take it as an input: the full LCM models.
    pub time_cond_proj_dim: Option<usize>,
    /// True where attention sites project with dense layers rather than 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Epsilon of the resnets' normalisations; the attention sites' is always 1e-6.
    pub norm_eps: f64,
    /// Cosines before sines in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Taken from the divisor of the time embedding's exponents.
    pub freq_shift: f64,
    /// `text_time` for SDXL: the pooled prompt and the picture's sizes join the time embedding.
    pub addition_embed_type: Option<String>,
    /// Width of the sinusoid of one of the picture's numbers.
    pub addition_time_embed_dim: Option<usize>,
    /// Width of the pooled prompt and the sinusoids of all of the picture's numbers together: of six for SDXL, of five
    /// for its refiner.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Every other field of the file.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

impl Default for UNetConfig {
    /// The defaults of diffusers' class, which stand for absent fields.
    fn default() -> Self {
        let [down, plain_down] = ["CrossAttnDownBlock2D", "DownBlock2D"];
        let [up, plain_up] = ["CrossAttnUpBlock2D", "UpBlock2D"];
        Self {
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: [down, down, down, plain_down].map(String::from).to_vec(),
            up_block_types: [plain_up, up, up, up].map(String::from).to_vec(),
            layers_per_block: PerLevel::All(2),
            cross_attention_dim: PerLevel::All(1280),
            attention_head_dim: PerLevel::All(8),
            transformer_layers_per_block: PerLevel::All(1),
            reverse_transformer_layers_per_block: None,
            mid_block_type: Some(MID_ATTENDS.into()),
            time_cond_proj_dim: None,
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            others: BTreeMap::new(),
        }
    }
}

impl UNetConfig {
    /// Stable Diffusion 1.5, as in `unet/config.json` of stable-diffusion-v1-5/stable-diffusion-v1-5.
    #[must_use]
    pub fn sd15() -> Self {
        Self { cross_attention_dim: PerLevel::All(768), ..Self::default() }
    }

    /// SDXL base 1.0, as in `unet/config.json` of stabilityai/stable-diffusion-xl-base-1.0.
    #[must_use]
    pub fn sdxl() -> Self {
        let [down, plain_down] = ["CrossAttnDownBlock2D", "DownBlock2D"];
        let [up, plain_up] = ["CrossAttnUpBlock2D", "UpBlock2D"];
        Self {
            block_out_channels: vec![320, 640, 1280],
            down_block_types: [plain_down, down, down].map(String::from).to_vec(),
            up_block_types: [up, up, plain_up].map(String::from).to_vec(),
            cross_attention_dim: PerLevel::All(2048),
            attention_head_dim: PerLevel::Each(vec![5, 10, 20]),
            transformer_layers_per_block: PerLevel::Each(vec![1, 2, 10]),
            use_linear_projection: true,
            addition_embed_type: Some("text_time".into()),
            addition_time_embed_dim: Some(256),
            projection_class_embeddings_input_dim: Some(2816), // 1280 + 6 · 256
            ..Self::default()
        }
    }

    /// Checks that the network can be built. [`UNet::new`](super::UNet::new) calls this.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field: block types other than the four, numbers that do not fit each other,
    /// and any feature that Stable Diffusion 1.5 and SDXL do not have.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_levels()?;
        self.check_numbers()?;
        self.check_attention()?;
        self.check_added()?;
        self.check_others()
    }

    /// Number of levels, each half the size of the one before.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Width of the time embedding.
    #[must_use]
    pub fn time_embed_width(&self) -> usize {
        4 * self.block_out_channels[0]
    }

    /// Channels of the skip connections in the order the network makes them; a ControlNet has one output for each.
    #[must_use]
    pub fn skip_channels(&self) -> Vec<usize> {
        let mut channels = vec![self.block_out_channels[0]];
        for (level, &c) in self.block_out_channels.iter().enumerate() {
            let downsampler = usize::from(level + 1 < self.levels());
            channels.extend(vec![c; self.layers_per_block.at(level) + downsampler]);
        }
        channels
    }

    /// Number of attention heads of a level.
    pub(crate) fn heads(&self, level: usize) -> usize {
        self.attention_head_dim.at(level)
    }

    pub(crate) fn attends_down(&self, level: usize) -> bool {
        self.down_block_types[level] == "CrossAttnDownBlock2D"
    }

    /// True where there is a middle block.
    pub(crate) fn has_mid(&self) -> bool {
        self.mid_block_type.is_some()
    }

    /// True where the middle block attends.
    pub(crate) fn attends_mid(&self) -> bool {
        self.mid_block_type.as_deref() == Some(MID_ATTENDS)
    }

    /// Transformer blocks of the attention sites of a level on the way down; of the middle block's only one for the last.
    pub(crate) fn depth_down(&self, level: usize, site: usize) -> usize {
        self.transformer_layers_per_block.at_site(level, site)
    }

    /// The same on the way up.
    pub(crate) fn depth_up(&self, level: usize, site: usize) -> usize {
        match &self.reverse_transformer_layers_per_block {
            Some(reverse) => reverse.at_site(self.levels() - 1 - level, site),
            None => self.depth_down(level, site),
        }
    }

    /// The same with what no shape says (heads, norms, the time embedding's sinusoid) from `own`, if that is as wide.
    pub(crate) fn completed_by(&self, own: &Self) -> Self {
        let as_wide = self.block_out_channels == own.block_out_channels
            && self.use_linear_projection == own.use_linear_projection
            && self.cross_attention_dim.at(0) == own.cross_attention_dim.at(0);
        if !as_wide {
            return self.clone();
        }
        let same_heads = (0..self.levels()).all(|level| self.heads(level) == own.heads(level));
        Self {
            attention_head_dim: match same_heads {
                true => self.attention_head_dim.clone(),
                false => own.attention_head_dim.clone(),
            },
            norm_num_groups: own.norm_num_groups,
            norm_eps: own.norm_eps,
            flip_sin_to_cos: own.flip_sin_to_cos,
            freq_shift: own.freq_shift,
            ..self.clone()
        }
    }

    pub(crate) fn attends_up(&self, level: usize) -> bool {
        self.up_block_types[self.levels() - 1 - level] == "CrossAttnUpBlock2D"
    }

    /// What joins the time embedding, if anything does.
    pub(crate) fn added(&self) -> Option<AddedCondition> {
        self.addition_embed_type.as_ref()?;
        let number_width = self.addition_time_embed_dim?;
        Some(AddedCondition { width: self.projection_class_embeddings_input_dim?, number_width })
    }

    fn check_levels(&self) -> Result<(), Error> {
        let levels = self.levels();
        let channels = &self.block_out_channels;
        let multiple = |c: &usize| in_range(*c) && c.is_multiple_of(self.norm_num_groups);
        require("in_channels", self.in_channels, in_range(self.in_channels), RANGE)?;
        require("out_channels", self.out_channels, in_range(self.out_channels), RANGE)?;
        require("norm_num_groups", self.norm_num_groups, in_range(self.norm_num_groups), RANGE)?;
        require(
            "block_out_channels",
            channels,
            (1..=MAX_LEVELS).contains(&levels) && channels.iter().all(multiple),
            "1 to 8 numbers to 65536, multiples of norm_num_groups",
        )?;
        require(
            "down_block_types",
            &self.down_block_types,
            are_blocks(&self.down_block_types, levels, ["CrossAttnDownBlock2D", "DownBlock2D"]),
            "CrossAttnDownBlock2D or DownBlock2D for each of block_out_channels",
        )?;
        require(
            "up_block_types",
            &self.up_block_types,
            are_blocks(&self.up_block_types, levels, ["CrossAttnUpBlock2D", "UpBlock2D"]),
            "CrossAttnUpBlock2D or UpBlock2D for each of block_out_channels",
        )?;
        require(
            "layers_per_block",
            &self.layers_per_block,
            self.layers_per_block.fits(levels, |n| (1..=MAX_DEPTH).contains(&n)),
            "1 to 32, or a list of such for each of block_out_channels",
        )
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let (eps, shift) = (self.norm_eps, self.freq_shift);
        require("norm_eps", eps, eps > 0.0 && eps < 1.0, "above 0, below 1")?;
        let width = self.block_out_channels[0];
        require(
            "block_out_channels",
            width,
            width.is_multiple_of(2),
            "an even first number, for sines and cosines",
        )?;
        let below = shift >= 0.0 && shift < width as f64 / 2.0;
        require("freq_shift", shift, below, "0 or more, less than half of the first block_out_channels")?;
        let mid = self.mid_block_type.as_deref();
        require(
            "mid_block_type",
            mid,
            mid.is_none_or(|mid| [MID_ATTENDS, MID_PLAIN].contains(&mid)),
            "UNetMidBlock2DCrossAttn, UNetMidBlock2D or null",
        )?;
        let guidance = self.time_cond_proj_dim;
        let right = guidance.is_none_or(|width| (4..=MAX_WIDTH).contains(&width));
        require("time_cond_proj_dim", guidance, right, "null, or 4 to 65536")
    }

    fn check_attention(&self) -> Result<(), Error> {
        let levels = self.levels();
        let heads = &self.attention_head_dim;
        let divides = |level: usize| self.block_out_channels[level].is_multiple_of(heads.at(level));
        // Levels without attention may carry any number: SDXL's first does.
        let attends = |&level: &usize| {
            self.attends_down(level) || self.attends_up(level) || (level + 1 == levels && self.attends_mid())
        };
        require(
            "attention_head_dim",
            heads,
            heads.fits(levels, |n| n > 0) && (0..levels).filter(attends).all(divides),
            "a number of heads, or a list of such for each level, that divides block_out_channels",
        )?;
        require(
            "cross_attention_dim",
            &self.cross_attention_dim,
            self.cross_attention_dim.fits(levels, |n| {
                in_range(n) && n == self.cross_attention_dim.at(0) // one context for all
            }),
            "1 to 65536, the same for each level",
        )?;
        self.check_depths()
    }

    fn check_depths(&self) -> Result<(), Error> {
        let (down, up) = (&self.transformer_layers_per_block, &self.reverse_transformer_layers_per_block);
        let levels = self.levels();
        let shallow = |n| n <= MAX_DEPTH;
        let sites = |level: usize| self.layers_per_block.at(level);
        require(
            "transformer_layers_per_block",
            down,
            down.fits_sites(levels, sites, shallow),
            "0 to 32, or a list for each of block_out_channels of such or of lists for each resnet",
        )?;
        if let Some(up) = up {
            require(
                "reverse_transformer_layers_per_block",
                up,
                up.fits_sites(levels, |block| sites(levels - 1 - block) + 1, shallow),
                "0 to 32, or a list for each of up_block_types of such or of lists for each resnet",
            )?;
        }
        // As diffusers has it: the same list cannot be that of blocks with one resnet more.
        let told = up.is_some() || !down.is_by_site();
        require("reverse_transformer_layers_per_block", up, told, "one beside lists for each resnet")
    }

    fn check_added(&self) -> Result<(), Error> {
        match self.addition_embed_type.as_deref() {
            None => Ok(()),
            Some("text_time") => {
                let number = self.addition_time_embed_dim;
                let even = number
                    .is_some_and(|n| in_range(n) && n.is_multiple_of(2) && n as f64 > 2.0 * self.freq_shift);
                require("addition_time_embed_dim", number, even, "an even number to 65536")?;
                let number = number.unwrap_or_default();
                let all = self.projection_class_embeddings_input_dim;
                require(
                    "projection_class_embeddings_input_dim",
                    all,
                    all.is_some_and(|all| in_range(all) && all > number),
                    &format!("more than addition_time_embed_dim {number}, at most 65536"),
                )
            }
            Some(other) => require("addition_embed_type", other, false, "null or \"text_time\""),
        }
    }

    /// Refuses the features of diffusers' class that have no place in these networks.
    fn check_others(&self) -> Result<(), Error> {
        for &(field, expected) in FIXED {
            let Some(found) = self.others.get(field) else { continue };
            let expected: Value = serde_json::from_str(expected).unwrap_or_default();
            let same_number = expected.is_number() && found.as_f64() == expected.as_f64();
            let off = expected.is_null() && found == &Value::Bool(false);
            if !(found == &expected || same_number || off) {
                return require(field, found, false, &format!("{expected}"));
            }
        }
        Ok(())
    }
}

/// Fields that change the network, with the only value (as JSON) that these networks have.
const FIXED: &[(&str, &str)] = &[
    ("act_fn", r#""silu""#),
    ("attention_type", r#""default""#),
    ("center_input_sample", "false"),
    ("class_embed_type", "null"),
    ("class_embeddings_concat", "false"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("cross_attention_norm", "null"),
    ("downsample_padding", "1"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_only_cross_attention", "null"),
    ("mid_block_scale_factor", "1"),
    ("num_attention_heads", "null"), // diffusers refuses it as well
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_out_scale_factor", "1"),
    ("resnet_skip_time_act", "false"),
    ("resnet_time_scale_shift", r#""default""#),
    ("time_embedding_act_fn", "null"),
    ("time_embedding_dim", "null"),
    ("time_embedding_type", r#""positional""#),
    ("timestep_post_act", "null"),
];

/// The middle block of two resnets with attention between them, and that of one resnet.
const MID_ATTENDS: &str = "UNetMidBlock2DCrossAttn";
const MID_PLAIN: &str = "UNetMidBlock2D";

/// Bounds that keep a hostile file from asking for more than an address space.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LEVELS: usize = 8;
const MAX_DEPTH: usize = 32;
const RANGE: &str = "1 to 65536";

fn in_range(n: usize) -> bool {
    (1..=MAX_WIDTH).contains(&n)
}

fn are_blocks(types: &[String], levels: usize, known: [&str; 2]) -> bool {
    types.len() == levels && types.iter().all(|name| known.contains(&name.as_str()))
}

fn require(field: &str, found: impl serde::Serialize, holds: bool, expected: &str) -> Result<(), Error> {
    Error::require("UNet", field, found, holds, expected)
}

/// The widths of SDXL's added condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddedCondition {
    /// Of all together.
    pub(crate) width: usize,
    /// Of one of the picture's numbers.
    pub(crate) number_width: usize,
}

impl AddedCondition {
    /// The count of numbers that there is room for beside a pooled prompt of a width: six for SDXL, five for its refiner. `None`
    /// where that is no whole number of them.
    pub(crate) fn numbers(self, pooled_width: usize) -> Option<usize> {
        let room = self.width.checked_sub(pooled_width).filter(|room| *room > 0)?;
        room.is_multiple_of(self.number_width).then(|| room / self.number_width)
    }
}
