//! The original TAESD's names: two files, each a sequence of numbered layers.

use super::{KeyTable, row};

/// The most layers that a half of a tiny VAE can have: 8 levels of 64 blocks, and what lies between them.
const MOST_LAYERS: usize = 8 * 64 + 32;

/// `taesd_encoder.safetensors`.
#[must_use]
pub fn encoder() -> KeyTable {
    KeyTable::new([row("encoder.layers", "")])
}

/// `taesd_decoder.safetensors`: its layer 0 clamps the latents, which is no layer of the network here.
#[must_use]
pub fn decoder() -> KeyTable {
    let layer = |own: usize| row(format!("decoder.layers.{own}"), (own + 1).to_string());
    KeyTable::new((0..MOST_LAYERS).map(layer))
}
