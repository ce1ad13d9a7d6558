//! Whole pipelines against diffusers: same folder, same LoRA, same seed, from the prompt to the pixels.
//!
//! `reference/pipelines.py`, `pipelines_sdxl.py` and `pipelines_controlnet.py` ran every case of `cases.json` through
//! diffusers and recorded the final latents; for some cases also the latents after each step; for one of each seed, size and
//! batch the initial noise, and for one of each VAE, size and batch the pixels.

#[path = "common/parity.rs"]
mod parity;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hypersd::{Control, Image, Pipeline, Request, Strength};
use hypersd_testing::{device, dtype, weights, write_single_file};
use parity::fixtures;
use serde::Deserialize;

/// A family's fixtures.
struct Suite {
    /// Folder of the cases.
    cases: &'static str,
    /// The cases with ControlNets of both families are in one folder.
    family: &'static str,
    model: &'static str,
    lora: &'static str,
    /// How many modules the LoRA has.
    modules: usize,
}

const SD15: Suite = Suite {
    cases: "pipelines",
    family: "sd15",
    model: "tiny-sd15",
    lora: "tiny-sd15-lora.safetensors",
    modules: 278,
};
const SDXL: Suite = Suite {
    cases: "pipelines-sdxl",
    family: "sdxl",
    model: "tiny-sdxl",
    lora: "tiny-sdxl-lora.safetensors",
    modules: 257,
};

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    lora: Option<f32>,
    #[serde(default)]
    vae: Option<String>,
    #[serde(default)]
    unet: Option<String>,
    #[serde(flatten)]
    control: Option<ControlCase>,
}

/// What cases with ControlNets have beside the others; paths are under the fixtures.
#[derive(Debug, Deserialize)]
struct ControlCase {
    family: String,
    controlnets: Vec<String>,
    control_images: Vec<String>,
    control_scales: Vec<f32>,
    control_start: f64,
    control_end: f64,
    guess_mode: bool,
}

impl ControlCase {
    fn controls(&self) -> Vec<Control> {
        let controls = self.control_images.iter().zip(&self.control_scales).map(|(image, &scale)| Control {
            image: Image::open(fixtures().join(image)).expect("a control image"),
            strength: Strength {
                scale,
                start: self.control_start,
                end: self.control_end,
                guess_mode: self.guess_mode,
            },
        });
        controls.collect()
    }
}

impl Case {
    fn request(&self) -> Request {
        let controls = self.control.as_ref().map(ControlCase::controls).unwrap_or_default();
        Request { controls, ..self.common.request() }
    }

    /// Cases with the same key share a loaded pipeline.
    fn key(&self) -> String {
        let controlnets = self.control.as_ref().map(|control| &control.controlnets);
        format!("{:?} {:?} {:?} {controlnets:?}", self.vae, self.unet, self.lora)
    }

    /// The pipeline on the weights of `model`, a folder or a single file.
    fn load(&self, suite: &Suite, model: &Path) -> Pipeline {
        let mut builder = Pipeline::open(model).expect("the tiny model").dtype(dtype());
        if let Some(unet) = &self.unet {
            builder = builder.unet(weights("").join(unet)).expect("the other UNet");
        }
        if let Some(weight) = self.lora {
            builder = builder.lora(weights("").join(suite.lora), weight).expect("the LoRA");
        }
        if self.vae.as_deref() == Some("taesd") {
            builder = builder.vae(weights("").join("tiny-taesd")).expect("the TAESD");
        }
        for controlnet in self.control.iter().flat_map(|control| &control.controlnets) {
            builder = builder.controlnet(weights("").join(controlnet)).expect("the ControlNet");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

impl Suite {
    fn cases(&self) -> Vec<Case> {
        parity::cases(self.cases)
    }

    fn case(&self, name: &str) -> Case {
        self.cases().into_iter().find(|case| case.common.name == name).expect("the case")
    }

    fn model(&self) -> PathBuf {
        weights("").join(self.model)
    }

    /// Runs every case.
    fn run(&self) {
        let mut pipelines = BTreeMap::new();
        let family = |case: &Case| case.control.as_ref().is_none_or(|control| control.family == self.family);
        let mut decoded = 0;
        for case in self.cases().into_iter().filter(family) {
            let pipeline = pipelines.entry(case.key()).or_insert_with(|| case.load(self, &self.model()));
            let pixels = parity::assert_is_diffusers(self.cases, &case.common.name, &case.request(), pipeline);
            decoded += usize::from(pixels);
        }
        assert!(decoded > 0, "no case of {} has pixels", self.cases);
    }

    /// Runs one case on the weights of the folder in one file. It is enough: that each tensor of such a file is the
    /// folder's, bit for bit, is what `crates/hypersd-models/tests/single_file.rs` asserts.
    fn run_in_one_file(&self, name: &str) {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let file = write_single_file(&self.model(), scratch.path());
        let case = self.case(name);
        // A single file does not say what size its model is made for.
        assert!(case.common.request().width.is_some(), "{name}");
        parity::assert_is_diffusers(self.cases, name, &case.request(), &case.load(self, &file));
    }
}

#[test]
fn sd15_is_diffusers() {
    SD15.run();
}

#[test]
fn sdxl_is_diffusers() {
    SDXL.run();
}

#[test]
fn sd15_in_one_file_is_diffusers() {
    SD15.run_in_one_file("96x64"); // with a LoRA
}

#[test]
fn sdxl_in_one_file_is_diffusers() {
    SDXL.run_in_one_file("cfg-negative");
}

#[test]
fn sd15_with_controlnets_is_diffusers() {
    Suite { cases: "pipelines-controlnet", ..SD15 }.run();
}

#[test]
fn sdxl_with_controlnets_is_diffusers() {
    Suite { cases: "pipelines-controlnet", ..SDXL }.run();
}

#[test]
fn every_lora_module_is_applied() {
    for suite in [SD15, SDXL] {
        let pipeline = suite.case("tcd-1-eta-1.0").load(&suite, &suite.model());
        let [report] = pipeline.lora_reports() else { panic!("one report for one file") };
        assert_eq!((report.applied, report.modules), (suite.modules, suite.modules));
    }
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let case = SD15.case("tcd-4-eta-1.0");
    let pipeline = case.load(&SD15, &SD15.model());
    let draw = || pipeline.generate(&case.request()).expect("a picture");
    assert_eq!(draw(), draw());
}

#[test]
fn a_preview_decodes_and_the_iterator_knows_its_length() {
    let case = SD15.case("ddim-4");
    let pipeline = case.load(&SD15, &SD15.model());
    let mut steps = pipeline.denoise(&case.request()).expect("a request");
    assert_eq!(steps.len(), 4);
    let first = steps.next().expect("four steps").expect("a step");
    assert_eq!((first.index, first.steps, first.t, steps.len()), (0, 4, 999.0, 3));
    let preview = pipeline.decode(first.x0).expect("a preview");
    assert_eq!((preview.len(), preview[0].width(), preview[0].height()), (1, 128, 128));
}
