//! LDM's and SGM's names of a UNet: blocks are numbered through, whatever their level.

use hypersd_core::View;

use super::{KeyTable, row};
use crate::unet::UNetConfig;

/// LDM's names of a resnet's parts.
const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// What of a UNet decides LDM's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Number of levels.
    pub levels: usize,
    /// Resnets of a down block; an up block has one more.
    pub layers: usize,
    /// True where an up block attends, the smallest image first; `false` for blocks that are not there.
    pub attends_up: Vec<bool>,
}

impl Layout {
    /// What numbers could be in a file: more would only make the table large.
    const MOST_LEVELS: usize = 8;
    const MOST_LAYERS: usize = 32;

    /// The layout of a configuration; `None` where levels differ in their number of resnets, which LDM cannot say.
    #[must_use]
    pub fn of(config: &UNetConfig) -> Option<Self> {
        let layers = config.layers_per_block.at(0);
        if (0..config.levels()).any(|level| config.layers_per_block.at(level) != layers) {
            return None;
        }
        let attends_up = config.up_block_types.iter().map(|block| block == "CrossAttnUpBlock2D").collect();
        Some(Self { levels: config.levels(), layers, attends_up })
    }

    /// The layout of a file, by whether it has a tensor of one of LDM's names.
    pub fn read(has: impl Fn(&str) -> bool) -> Self {
        let resnet = |&block: &usize| has(&format!("input_blocks.{block}.0.in_layers.0.weight"));
        let layers = (1..=Self::MOST_LAYERS).take_while(resnet).count();
        let downsampler = |&level: &usize| has(&format!("input_blocks.{}.0.op.weight", level * (layers + 1)));
        let levels = 1 + (1..Self::MOST_LEVELS).take_while(downsampler).count();
        let attends = |block: usize| has(&format!("output_blocks.{}.1.norm.weight", block * (layers + 1)));
        Self { levels, layers, attends_up: (0..levels).map(attends).collect() }
    }
}

/// The whole network, without the `model.diffusion_model.` of a checkpoint.
#[must_use]
pub fn ldm(layout: &Layout) -> KeyTable {
    KeyTable::new(encoder(layout).into_iter().chain(decoder(layout)))
}

/// The half that a ControlNet has as well: everything up to the middle block.
pub(super) fn encoder(layout: &Layout) -> Vec<(String, String, View)> {
    let per_level = layout.layers + 1; // the downsampler has a number of its own
    let mut rows = vec![
        row("time_embedding.linear_1", "time_embed.0"),
        row("time_embedding.linear_2", "time_embed.2"),
        row("time_embedding.cond_proj", "time_embed.cond_proj"),
        row("add_embedding.linear_1", "label_emb.0.0"),
        row("add_embedding.linear_2", "label_emb.0.2"),
        row("conv_in", "input_blocks.0.0"),
        row("mid_block.attentions.0", "middle_block.1"),
    ];
    rows.extend(resnet("mid_block.resnets.0", "middle_block.0"));
    rows.extend(resnet("mid_block.resnets.1", "middle_block.2"));
    for level in 0..layout.levels {
        let first = per_level * level + 1; // conv_in is number 0
        for layer in 0..layout.layers {
            let block = format!("input_blocks.{}", first + layer);
            rows.extend(resnet(&format!("down_blocks.{level}.resnets.{layer}"), &format!("{block}.0")));
            rows.push(row(format!("down_blocks.{level}.attentions.{layer}"), format!("{block}.1")));
        }
        let down = format!("input_blocks.{}.0.op", first + layout.layers);
        rows.push(row(format!("down_blocks.{level}.downsamplers.0.conv"), down));
    }
    rows
}

fn decoder(layout: &Layout) -> Vec<(String, String, View)> {
    let per_level = layout.layers + 1;
    let mut rows = vec![row("conv_norm_out", "out.0"), row("conv_out", "out.2")];
    for level in 0..layout.levels {
        let attends = layout.attends_up.get(level).copied().unwrap_or(false);
        for layer in 0..per_level {
            let block = format!("output_blocks.{}", per_level * level + layer);
            rows.extend(resnet(&format!("up_blocks.{level}.resnets.{layer}"), &format!("{block}.0")));
            if attends {
                rows.push(row(format!("up_blocks.{level}.attentions.{layer}"), format!("{block}.1")));
            }
        }
        // The upsampler is the last part of the last block: behind the attention, where there is one.
        let last = per_level * level + layout.layers;
        let up = format!("output_blocks.{last}.{}.conv", if attends { 2 } else { 1 });
        rows.push(row(format!("up_blocks.{level}.upsamplers.0.conv"), up));
    }
    rows
}

fn resnet(canonical: &str, stored: &str) -> impl Iterator<Item = (String, String, View)> {
    RESNET.iter().map(move |(own, ldm)| row(format!("{canonical}.{own}"), format!("{stored}.{ldm}")))
}
