//! Names that stable-diffusion.cpp's converter gave SDXL's text encoders in GGUF files: both under `cond_stage_model`, the second
//! with transformers' names around OpenCLIP's projection.

use std::sync::Arc;

use hypersd_core::{Renamed, SharedSource, TensorSource, View};

use crate::Error;

const FIRST: &str = "cond_stage_model.transformer.";
const SECOND: &str = "cond_stage_model.1.transformer.";
/// A matrix `[in, out]`.
const PROJECTION: &str = "text_model.text_projection";
/// What is before the ends of q, k and v in one.
const FUSED: &str = ".self_attn.in_proj.";

/// The file under the names that SDXL's publishers use, if it has those of the converter.
pub(super) fn published(source: SharedSource) -> Result<SharedSource, Error> {
    let known_by = format!("{SECOND}text_model.embeddings.token_embedding.weight");
    if source.info(&known_by).is_none() {
        return Ok(source);
    }
    let rows = source.names().into_iter().flat_map(|name| {
        let published = match (name.strip_prefix(FIRST), name.strip_prefix(SECOND)) {
            (Some(rest), _) => format!("conditioner.embedders.0.transformer.{rest}"),
            (_, Some(PROJECTION)) => {
                let published = "conditioner.embedders.1.transformer.text_projection.weight".to_string();
                return vec![(published, name, View::Transposed)];
            }
            (_, Some(rest)) => format!("conditioner.embedders.1.transformer.{rest}"),
            _ => name.clone(),
        };
        match published.split_once(FUSED) {
            Some((layer, end)) => (0..3)
                .zip(["q_proj", "k_proj", "v_proj"])
                .map(|(part, own)| {
                    (format!("{layer}.self_attn.{own}.{end}"), name.clone(), View::Rows { part, of: 3 })
                })
                .collect(),
            None => vec![(published, name, View::Whole)],
        }
    });
    let rows: Vec<_> = rows.collect();
    Ok(Arc::new(Renamed::select(source, rows)?))
}
