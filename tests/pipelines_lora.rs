//! Whole pipelines with LoRAs in every form that diffusers loads, alone and stacked, against diffusers.
//!
//! `reference/pipelines_lora.py` wrote the files and recorded what diffusers makes with them; it made sure that each
//! moves the latents in each network by far more than the tolerance.

#[path = "common/parity.rs"]
mod parity;

use std::path::PathBuf;

use hypersd::{LoraWeights, Pipeline};
use hypersd_testing::{device, dtype, weights};
use parity::fixtures;
use serde::Deserialize;

const FOLDER: &str = "pipelines-lora";

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    family: String,
    /// Files under [`FOLDER`] with their weights.
    loras: Vec<(String, Weights)>,
}

/// The weights by diffusers' names.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Weights {
    unet: f32,
    text_encoder: f32,
    text_encoder_2: f32,
}

impl From<Weights> for LoraWeights {
    fn from(Weights { unet, text_encoder, text_encoder_2 }: Weights) -> Self {
        Self { unet, text_encoder, text_encoder_2 }
    }
}

impl Case {
    fn loras(&self) -> impl Iterator<Item = (PathBuf, Weights)> {
        self.loras.iter().map(|(file, weights)| (fixtures().join(FOLDER).join(file), *weights))
    }

    fn load(&self) -> Pipeline {
        let model = weights("").join(format!("tiny-{}", self.family));
        let mut builder = Pipeline::open(model).expect("the tiny model").dtype(dtype());
        for (path, weights) in self.loras() {
            builder = builder.lora(path, weights).expect("the LoRA");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

fn cases(family: &str) -> impl Iterator<Item = Case> {
    parity::cases::<Case>(FOLDER).into_iter().filter(move |case| case.family == family)
}

/// Runs the cases of a family, each on a pipeline loaded with its LoRAs.
fn run(family: &str) {
    for case in cases(family) {
        let pipeline = case.load();
        for report in pipeline.lora_reports() {
            assert_eq!((report.applied, &report.unmatched[..]), (report.modules, &[][..]), "{}", report.file);
        }
        parity::assert_is_diffusers(FOLDER, &case.common.name, &case.common.request(), &pipeline);
    }
}

#[test]
fn sd15_with_every_form_is_diffusers() {
    run("sd15");
}

#[test]
fn sdxl_with_every_form_is_diffusers() {
    run("sdxl");
}

/// One pipeline, whose LoRAs are exchanged from form to form.
#[test]
fn exchanged_from_form_to_form_is_diffusers() {
    let mut pipeline: Option<Pipeline> = None;
    for case in cases("sd15") {
        let pipeline = pipeline.get_or_insert_with(|| case.load());
        let loras: Vec<_> = case.loras().collect();
        pipeline.set_loras(&loras).expect("exchanged");
        parity::assert_is_diffusers(FOLDER, &case.common.name, &case.common.request(), pipeline);
    }
}
