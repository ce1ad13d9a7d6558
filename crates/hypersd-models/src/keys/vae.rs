//! The names of a VAE: LDM's, and diffusers' own before 2023.

use hypersd_core::View;

use super::{KeyTable, row};
use crate::vae::VaeConfig;

/// What of a VAE decides LDM's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Number of levels.
    pub levels: usize,
    /// Resnets of a block of the encoder; one of the decoder has one more.
    pub layers: usize,
}

impl Layout {
    const MOST_LEVELS: usize = 8;
    const MOST_LAYERS: usize = 64;

    /// The layout of a configuration.
    #[must_use]
    pub fn of(config: &VaeConfig) -> Self {
        Self { levels: config.block_out_channels.len(), layers: config.layers_per_block }
    }

    /// The layout of a file, by whether it has a tensor of one of LDM's names.
    pub fn read(has: impl Fn(&str) -> bool) -> Self {
        let resnet =
            |level: usize, layer: usize| has(&format!("encoder.down.{level}.block.{layer}.conv1.weight"));
        Self {
            levels: (0..Self::MOST_LEVELS).take_while(|&level| resnet(level, 0)).count(),
            layers: (0..Self::MOST_LAYERS).take_while(|&layer| resnet(0, layer)).count(),
        }
    }
}

/// LDM's names, without the `first_stage_model.` of a checkpoint.
///
/// The decoder's levels are counted from the largest image, and attention projects with 1x1 convolutions.
#[must_use]
pub fn ldm(layout: &Layout) -> KeyTable {
    let mut rows = vec![row("quant_conv", "quant_conv"), row("post_quant_conv", "post_quant_conv")];
    for half in ["encoder", "decoder"] {
        for (own, ldm) in [("conv_in", "conv_in"), ("conv_norm_out", "norm_out"), ("conv_out", "conv_out")] {
            rows.push(row(format!("{half}.{own}"), format!("{half}.{ldm}")));
        }
        rows.extend(resnet(format!("{half}.mid_block.resnets.0"), format!("{half}.mid.block_1")));
        rows.extend(resnet(format!("{half}.mid_block.resnets.1"), format!("{half}.mid.block_2")));
        rows.extend(attention(half, &format!("{half}.mid.attn_1"), ["norm", "q", "k", "v", "proj_out"]));
    }
    for level in 0..layout.levels {
        let (down, up) = (format!("encoder.down_blocks.{level}"), format!("decoder.up_blocks.{level}"));
        let stored_down = format!("encoder.down.{level}");
        let stored_up = format!("decoder.up.{}", layout.levels - 1 - level);
        for layer in 0..layout.layers {
            rows.extend(resnet(format!("{down}.resnets.{layer}"), format!("{stored_down}.block.{layer}")));
        }
        for layer in 0..=layout.layers {
            rows.extend(resnet(format!("{up}.resnets.{layer}"), format!("{stored_up}.block.{layer}")));
        }
        rows.push(row(format!("{down}.downsamplers.0.conv"), format!("{stored_down}.downsample.conv")));
        rows.push(row(format!("{up}.upsamplers.0.conv"), format!("{stored_up}.upsample.conv")));
    }
    KeyTable::new(rows)
}

/// diffusers' names before 2023, which many files on the hub still have: today's, but for the attention.
///
/// Also reads today's names.
#[must_use]
pub fn old_diffusers() -> KeyTable {
    let old = ["group_norm", "query", "key", "value", "proj_attn"];
    let attentions = ["encoder", "decoder"].into_iter();
    let attentions =
        attentions.flat_map(|half| attention(half, &format!("{half}.mid_block.attentions.0"), old));
    KeyTable::new([row("", "")].into_iter().chain(attentions))
}

/// The middle attention of one half, stored below `path` under names for the norm, q, k, v and the way out.
fn attention(half: &str, path: &str, names: [&str; 5]) -> Vec<(String, String, View)> {
    let own = ["group_norm", "to_q", "to_k", "to_v", "to_out.0"];
    let rows = own.iter().zip(names).map(|(own, name)| {
        let view = if *own == "group_norm" { View::Whole } else { View::Matrix };
        (format!("{half}.mid_block.attentions.0.{own}"), format!("{path}.{name}"), view)
    });
    rows.collect()
}

/// A resnet's parts are called alike, all but the shortcut.
fn resnet(canonical: String, stored: String) -> [(String, String, View); 2] {
    let shortcut = row(format!("{canonical}.conv_shortcut"), format!("{stored}.nin_shortcut"));
    [row(canonical, stored), shortcut]
}
