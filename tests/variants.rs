//! Models that are not as the published ones, beside diffusers: UNets that are not regular or are told the guidance scale,
//! VAEs of another factor, and scheduler configurations of older converters.
//!
//! `reference/variants.py` drew every case of `variants/cases.json` and recorded its latents.

#[path = "common/copies.rs"]
mod copies;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use copies::{copied, replaced};
use hypersd::{Algorithm, Notice, Pipeline, PipelineBuilder, Recipe, Request, Steps};
use hypersd_testing::{assert_close, device, dtype, fixture, fixtures, pipeline_tolerance, weights};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// As in `common/parity.rs`.
const LATENTS: f64 = 2e-4;
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    family: String,
    unet: Option<String>,
    vae: Option<String>,
    scheduler_config: Option<Value>,
    index_class: Option<String>,
    scheduler: Option<String>,
    steps: usize,
    guidance: f64,
    width: Option<usize>,
    height: Option<usize>,
}

impl Case {
    fn of(name: &str) -> Self {
        cases().into_iter().find(|case| case.name == name).expect("the case")
    }

    fn request(&self) -> Request {
        Request {
            prompt: "a photo of a cat sitting on a windowsill, golden hour".into(),
            scheduler: self.scheduler.as_deref().map(|name| name.parse::<Algorithm>().expect("a scheduler")),
            steps: Steps::Count(self.steps),
            guidance: self.guidance,
            width: self.width,
            height: self.height,
            ..Request::default()
        }
    }

    /// The model's folder, with the case's scheduler configuration.
    fn model(&self, scratch: &Path) -> PathBuf {
        let model = weights("").join(format!("tiny-{}", self.family));
        let Some(config) = &self.scheduler_config else { return model };
        let folder = copied(&model, scratch);
        std::fs::write(folder.join("scheduler/scheduler_config.json"), config.to_string()).expect("a file");
        let class = self.index_class.clone().map_or_else(|| config["_class_name"].clone(), Value::from);
        replaced(&folder.join("model_index.json"), |index| index["scheduler"] = json!(["diffusers", class]));
        folder
    }

    fn open(&self, scratch: &Path) -> PipelineBuilder {
        let mut builder = Pipeline::open(self.model(scratch)).expect("the model").dtype(dtype());
        if let Some(unet) = &self.unet {
            builder = builder.unet(weights("").join("variants").join(unet)).expect("the UNet");
        }
        if let Some(vae) = &self.vae {
            builder = builder.vae(weights("").join("variants").join(vae)).expect("the VAE");
        }
        builder
    }

    fn assert_draws(&self, builder: PipelineBuilder) {
        let want = fixture(fixtures("").join("variants").join(format!("{}.safetensors", self.name)));
        let x = builder.load(&device()).expect("the pipeline").latents(&self.request()).expect("latents");
        assert_close(&self.name, x, &want["latents"], pipeline_tolerance(LATENTS));
    }
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(fixtures("").join("variants").join("cases.json")).expect("cases.json");
    serde_json::from_str(&text).expect("cases")
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// What is said while a request is drawn.
fn told(builder: PipelineBuilder, request: &Request) -> Vec<Notice> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let builder = builder.on_notice(move |notice| ears.lock().expect("a lock").push(notice));
    builder.load(&device()).expect("the pipeline").latents(request).expect("latents");
    let heard = heard.lock().expect("a lock");
    heard.clone()
}

#[test]
fn every_variant_is_diffusers() {
    for case in cases() {
        case.assert_draws(case.open(scratch().path()));
    }
}

#[test]
fn an_irregular_unet_alone_in_a_file_is_known_by_its_shapes() {
    for case in cases().into_iter().filter(|case| case.unet.is_some()) {
        let scratch = scratch();
        let file = scratch.path().join("some-unet.safetensors");
        let unet = case.unet.as_ref().expect("a UNet");
        std::fs::copy(weights("").join("variants").join(unet).join(WEIGHTS), &file).expect("a copy");
        let model = weights("").join(format!("tiny-{}", case.family));
        let builder = Pipeline::open(model).expect("the model").dtype(dtype());
        case.assert_draws(builder.unet(&file).expect("the UNet"));
    }
}

#[test]
fn heads_that_no_shape_says_are_the_models_own() {
    // The family's eight heads, and two.
    let scratch = scratch();
    let model = weights("").join("tiny-sd15");
    let folder = copied(&model, scratch.path());
    replaced(&folder.join("unet/config.json"), |config| config["attention_head_dim"] = json!(2));
    let file = scratch.path().join("alone.safetensors");
    std::fs::copy(folder.join("unet").join(WEIGHTS), &file).expect("a copy");
    let request = Request { steps: Steps::Count(1), width: Some(64), height: Some(64), ..Request::default() };
    let drawn = |builder: PipelineBuilder| -> Vec<f32> {
        let x = builder.load(&device()).expect("the pipeline").latents(&request).expect("latents");
        x.into_data().try_into_vec_as().expect("f32")
    };
    let own = drawn(Pipeline::open(&folder).expect("the model"));
    let alone = drawn(Pipeline::open(&folder).expect("the model").unet(&file).expect("the UNet"));
    let published = drawn(Pipeline::open(&model).expect("the model"));
    assert_eq!(own, alone);
    assert_ne!(own, published);
}

#[test]
fn what_is_set_right_is_told() {
    let told_of = |name: &str| {
        let case = Case::of(name);
        let scratch = scratch();
        let (mut corrected, mut clipped) = (Vec::new(), 0);
        for notice in told(case.open(scratch.path()), &case.request()) {
            match notice {
                Notice::SchedulerCorrected { field, .. } => corrected.push(field),
                Notice::LatentsClipped { .. } => clipped += 1,
                other => panic!("{other}"),
            }
        }
        (corrected, clipped)
    };
    assert_eq!(told_of("ddim-silent"), (vec!["steps_offset", "clip_sample"], 0));
    assert_eq!(told_of("pndm-silent"), (vec!["steps_offset"], 0));
    assert_eq!(told_of("pndm-silent-ddim"), (vec![], 1));
    assert_eq!(told_of("pndm-clips-ddim"), (vec!["steps_offset", "clip_sample"], 0));
    assert_eq!(told_of("bk"), (vec![], 0));
}

#[test]
fn a_recipe_means_the_same_on_every_folder() {
    let request = Request { width: Some(64), height: Some(64), ..Recipe::HYPER_SD15_4STEPS.request("a cat") };
    let drawn = |case: &str| -> Vec<f32> {
        let scratch = scratch();
        let pipeline = Case::of(case).open(scratch.path()).load(&device()).expect("the pipeline");
        pipeline.latents(&request).expect("latents").into_data().try_into_vec_as().expect("f32")
    };
    let model = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").dtype(dtype());
    let want = model.load(&device()).expect("the pipeline").latents(&request).expect("latents");
    let want: Vec<f32> = want.into_data().try_into_vec_as().expect("f32");
    for case in ["ddim-silent", "ddim-clips", "pndm-silent", "pndm-clips-ddim"] {
        assert_eq!(drawn(case), want, "{case}");
    }
}

#[test]
fn schedulers_of_other_noise_are_refused_by_name() {
    let open = |class: &str| {
        let scratch = scratch();
        let case =
            Case { scheduler_config: Some(json!({ "_class_name": class })), ..Case::of("ddim-silent") };
        let builder = Pipeline::open(case.model(scratch.path()));
        builder.and_then(|builder| builder.check(&Request::default()).map(|()| builder))
    };
    for class in ["EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler", "UnCLIPScheduler", "FancyScheduler"]
    {
        let message = open(class).expect_err("another noise").to_string();
        assert!(message.contains(class) && message.contains("scheduler_config.json"), "{message}");
    }
    // A scheduler of the caller's choice may draw for a class that nobody knows, not for one that is known to be another's.
    let named = Request { scheduler: Some(Algorithm::Euler), ..Request::default() };
    let scratch = scratch();
    let case = Case { scheduler_config: Some(json!({ "_class_name": "FancyScheduler" })), ..Case::of("bk") };
    let builder = Pipeline::open(case.model(scratch.path())).expect("the model");
    builder.check(&named).expect("a scheduler by name");
    for class in ["LMSDiscreteScheduler", "DEISMultistepScheduler"] {
        open(class).expect("the same noise");
    }
}
