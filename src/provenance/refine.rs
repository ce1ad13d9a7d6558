//! A refiner's part in a picture, as pictures keep it.

use serde::{Deserialize, Serialize};

use crate::Refine;

/// Where a refiner took over, and what it was told. The file it was read from is among the
/// [weights](super::Provenance::weights).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefineRecord {
    /// The share of the noise schedule; none where the refiner was the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch_at: Option<f64>,
    /// The score that it was told with the prompt, where it was told any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aesthetic_score: Option<f64>,
    /// The score that it was told with the negative prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_aesthetic_score: Option<f64>,
}

impl RefineRecord {
    /// A refiner that took over at a share, or was the model, and that is `scored` or not.
    pub(super) fn of(refine: &Refine, took_over: bool, scored: bool) -> Option<Self> {
        let record = Self {
            switch_at: took_over.then_some(refine.switch_at),
            aesthetic_score: scored.then_some(refine.aesthetic_score),
            negative_aesthetic_score: scored.then_some(refine.negative_aesthetic_score),
        };
        (took_over || scored).then_some(record)
    }
}
