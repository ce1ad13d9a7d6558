//! PeRFlow, of ByteDance.

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, PredictionType};

use super::{difference, hyper_sd::HYPER_N_STEPS, model};
use crate::recipe::{Allowed, Recipe};

/// Piecewise rectified flow, which heeds guidance and negative prompts.
const PERFLOW: Recipe = Recipe {
    scheduler: Algorithm::PeRFlow,
    spacing: None,
    steps: Allowed { least: 4, most: 8, default: 8 },
    prediction: Some(PredictionType::DiffEps),
    eta: None,
    guidance: Allowed { least: 4.5, most: 7.5, default: 7.5 },
    licence: None,
    source: "https://github.com/magic-research/piecewise-rectified-flow",
    ..HYPER_N_STEPS
};

impl Recipe {
    /// PeRFlow for Stable Diffusion 1.5.
    pub const PERFLOW_SD15: Self = Self {
        name: "perflow-sd15",
        files: &[difference("perflow-sd15-delta-weights"), model("perflow-sd15-dreamshaper")],
        ..PERFLOW
    };
    /// PeRFlow for SDXL.
    pub const PERFLOW_SDXL: Self = Self {
        name: "perflow-sdxl",
        family: Family::Sdxl,
        files: &[model("perflow-sdxl-base"), model("perflow-sdxl-dreamshaper")],
        steps: Allowed { least: 4, most: 50, default: 6 },
        prediction: Some(PredictionType::DdimEps),
        guidance: Allowed { least: 1.5, most: 2.5, default: 2.0 },
        ..PERFLOW
    };
}
