//! What the shapes of a text encoder say of it.

use hypersd_core::TensorSource;

use super::Shapes;
use crate::{
    Error,
    clip::{ClipTextConfig, HiddenAct},
};

/// Width of an attention head in every published CLIP.
const HEAD_WIDTH: usize = 64;

/// The configuration of a text encoder.
pub(crate) fn clip_text(source: &dyn TensorSource, hidden_act: HiddenAct) -> Result<ClipTextConfig, Error> {
    let shapes = Shapes(source);
    let tokens = "text_model.embeddings.token_embedding.weight";
    let layer = |layer: usize| format!("text_model.encoder.layers.{layer}");
    let projection = "text_projection.weight";
    let hidden_size = shapes.extent(tokens, 1)?;
    let config = ClipTextConfig {
        vocab_size: shapes.extent(tokens, 0)?,
        hidden_size,
        intermediate_size: shapes.extent(&format!("{}.mlp.fc1.weight", layer(0)), 0)?,
        projection_dim: match shapes.has(projection) {
            true => shapes.extent(projection, 0)?,
            false => hidden_size,
        },
        num_hidden_layers: shapes.count(|n| format!("{}.layer_norm1.weight", layer(n))),
        num_attention_heads: (hidden_size / HEAD_WIDTH).max(1),
        max_position_embeddings: shapes.extent("text_model.embeddings.position_embedding.weight", 0)?,
        hidden_act,
        eos_token_id: 2, // as in every published configuration: the end of text is the highest id
        with_projection: shapes.has(projection),
        ..ClipTextConfig::default()
    };
    config.validate()?;
    Ok(config)
}
