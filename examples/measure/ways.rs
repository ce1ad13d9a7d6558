//! The ways of drawing that are compared: the base, and the LoRA with its recipe.

use std::error::Error;

use hypersd::{Algorithm, Pipeline, Recipe, Request, Spacing, Steps};

use crate::Options;

/// Calls `measured` for every way with the pipeline as the way has it, the way's name and a request without a prompt.
pub(crate) fn each(
    options: &Options,
    pipeline: &mut Pipeline,
    mut measured: impl FnMut(&Pipeline, &str, &Request) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for (loras, ways) in
        [(vec![], base(options.base_guidance)), (vec![(options.lora(), 1.0_f32)], distilled())]
    {
        pipeline.set_loras(&loras)?;
        for (name, request) in ways.into_iter().filter(|(name, _)| name.starts_with(&options.ways)) {
            measured(pipeline, &name, &request)?;
        }
    }
    Ok(())
}

/// The model as it was trained: DDIM, with guidance where there is time for it.
fn base(guidance: f64) -> Vec<(String, Request)> {
    let way = |(steps, guidance): (usize, f64)| {
        let request = Request {
            scheduler: Some(Algorithm::Ddim),
            spacing: Some(Spacing::Trailing),
            steps: Steps::Count(steps),
            guidance,
            ..Request::default()
        };
        (format!("base, {}, guidance {guidance}", in_words(steps)), request)
    };
    [(25, guidance), (4, guidance), (1, 0.0)].map(way).into()
}

/// With the LoRA, as its recipe has it.
fn distilled() -> Vec<(String, Request)> {
    [1, 2, 4, 8].map(|steps| (format!("LoRA, {}", in_words(steps)), unified(steps))).into()
}

/// The LoRA's recipe with a number of steps.
pub(crate) fn unified(steps: usize) -> Request {
    Request { steps: Steps::Count(steps), ..Recipe::HYPER_SD15_UNIFIED.request("") }
}

pub(crate) fn in_words(steps: usize) -> String {
    format!("{steps} step{}", if steps == 1 { "" } else { "s" })
}
