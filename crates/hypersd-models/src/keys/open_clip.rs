//! OpenCLIP's names of a text encoder: ViT-bigG/14 (SDXL) and ViT-H/14 (SD2.x) in single files.

use hypersd_core::View;

use super::{KeyTable, row};

/// What of a text encoder decides its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Number of layers that the network has; of SD2.x's encoder one less than the file, the last of which nobody
    /// uses.
    pub layers: usize,
    /// True where the projection is a matrix `text_projection` `[in, out]`, as OpenCLIP keeps it, and not a layer's
    /// `text_projection.weight` `[out, in]`. The matrix is square, so its shape says nothing.
    pub bare_projection: bool,
}

impl Layout {
    const MOST_LAYERS: usize = 256;

    /// The layout of a file, by whether it has a tensor of one of OpenCLIP's names.
    pub fn read(has: impl Fn(&str) -> bool) -> Self {
        let layer = |&layer: &usize| has(&format!("transformer.resblocks.{layer}.ln_1.weight"));
        Self {
            layers: (0..Self::MOST_LAYERS).take_while(layer).count(),
            bare_projection: !has("text_projection.weight"),
        }
    }
}

/// The network, without the `conditioner.embedders.1.model.` of a checkpoint.
#[must_use]
pub fn open_clip(layout: &Layout) -> KeyTable {
    let mut rows = vec![
        row("text_model.embeddings.token_embedding", "token_embedding"),
        row("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        row("text_model.final_layer_norm", "ln_final"),
        match layout.bare_projection {
            true => ("text_projection.weight".into(), "text_projection".into(), View::Transposed),
            false => row("text_projection", "text_projection"),
        },
    ];
    for layer in 0..layout.layers {
        let own = format!("text_model.encoder.layers.{layer}");
        let stored = format!("transformer.resblocks.{layer}");
        for (ours, theirs) in [
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("self_attn.out_proj", "attn.out_proj"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ] {
            rows.push(row(format!("{own}.{ours}"), format!("{stored}.{theirs}")));
        }
        for (part, projection) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
            for leaf in ["weight", "bias"] {
                let fused = format!("{stored}.attn.in_proj_{leaf}");
                let view = View::Rows { part, of: 3 };
                rows.push((format!("{own}.self_attn.{projection}.{leaf}"), fused, view));
            }
        }
    }
    KeyTable::new(rows)
}
