//! transformers' names of a text encoder, which single files use for CLIP ViT-L/14.

use super::{KeyTable, row};

/// Names with `text_model.` in front, or (with `bare`) without: the first single files lack it, and so does what
/// transformers ≥ 5.6 saves.
#[must_use]
pub fn transformers(bare: bool) -> KeyTable {
    let stored = if bare { "" } else { "text_model" };
    KeyTable::new([row("text_model", stored), row("text_projection", "text_projection")])
}
