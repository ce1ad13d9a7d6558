//! The names under which text encoders are stored.

use std::sync::LazyLock;

use hypersd_core::TensorSource;

/// Tensors that a text encoder's file may hold and the network has no use for: a constant that older versions
/// saved (in any type), and the temperature of CLIP's training loss.
pub const IGNORED_TENSORS: &[&str] = &["*position_ids", "logit_scale"];

/// The renames that bring a text encoder's file to canonical names, as `(new, old)` pairs for
/// [`Renamed`](hypersd_core::Renamed): transformers ≥ 5.6 saves `CLIPTextModel` without the `text_model.` that all
/// other files, and this network, have in front.
///
/// ```
/// use hypersd_models::clip::canonical_names;
///
/// let names = ["final_layer_norm.bias", "text_projection.weight"].map(String::from);
/// let renames = canonical_names(names);
/// assert_eq!(renames, [("text_model.final_layer_norm.bias".to_string(), "final_layer_norm.bias".to_string())]);
/// assert!(canonical_names(["text_model.final_layer_norm.bias".to_string()]).is_empty());
/// ```
#[must_use]
pub fn canonical_names(names: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    let bare = |name: &String| {
        ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|part| name.starts_with(part))
    };
    names.into_iter().filter(bare).map(|old| (format!("text_model.{old}"), old)).collect()
}

/// The most layers that a text encoder may have.
const MOST_LAYERS: usize = 256;

/// What need not be read of an encoder of so many layers: [`IGNORED_TENSORS`], and every layer beyond, which files have whose
/// last layers were cut off by the configuration alone.
#[must_use]
pub fn ignored_tensors(layers: usize) -> &'static [&'static str] {
    // The list, then patterns of all layers, the last first: every answer is a beginning of this.
    static PATTERNS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let layer =
            |n| -> &'static str { Box::leak(format!("text_model.encoder.layers.{n}.*").into_boxed_str()) };
        IGNORED_TENSORS.iter().copied().chain((0..MOST_LAYERS).rev().map(layer)).collect()
    });
    let beyond = MOST_LAYERS.saturating_sub(layers);
    &PATTERNS[..IGNORED_TENSORS.len() + beyond]
}

/// The number of layers of a source under canonical names.
#[must_use]
pub fn layers(source: &dyn TensorSource) -> usize {
    let has = |n: &usize| source.info(&format!("text_model.encoder.layers.{n}.layer_norm1.weight")).is_some();
    (0..MOST_LAYERS).take_while(has).count()
}
