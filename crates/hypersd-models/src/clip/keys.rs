//! The names under which text encoders are stored.

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
