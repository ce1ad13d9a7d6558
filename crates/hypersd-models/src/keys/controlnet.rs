//! LDM's names of a ControlNet: the UNet's, and those of the parts that only it has.

use super::{
    KeyTable, row,
    unet::{Layout, encoder},
};

/// Convolutions between the first and the last of the control image's encoder.
const HINT_BLOCKS: usize = 6;

/// The network, without the `control_model.` of a checkpoint. The layout's up blocks do not count.
#[must_use]
pub fn ldm(layout: &Layout) -> KeyTable {
    let mut rows = encoder(layout);
    rows.push(row("controlnet_cond_embedding.conv_in", "input_hint_block.0"));
    for block in 0..HINT_BLOCKS {
        // Every other part is an activation.
        let stored = format!("input_hint_block.{}", 2 * (block + 1));
        rows.push(row(format!("controlnet_cond_embedding.blocks.{block}"), stored));
    }
    let last = format!("input_hint_block.{}", 2 * (HINT_BLOCKS + 1));
    rows.push(row("controlnet_cond_embedding.conv_out", last));
    // One for each skip connection: conv_in's, each resnet's, and each downsampler's, which the last level lacks.
    for skip in 0..(layout.layers + 1) * layout.levels {
        rows.push(row(format!("controlnet_down_blocks.{skip}"), format!("zero_convs.{skip}.0")));
    }
    rows.push(row("controlnet_mid_block", "middle_block_out.0"));
    KeyTable::new(rows)
}
