//! Whole pipelines against diffusers: same folder, same LoRA, same seed, from the prompt to the pixels.
//!
//! `reference/pipelines.py` ran every case of `cases.json` through diffusers and recorded the initial noise, the final
//! latents and the pixels; some cases also the context and the latents after each step.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hypersd::{Algorithm, Pipeline, Request, Rng, Spacing, Steps, Tensor};
use hypersd_core::Noise;
use hypersd_testing::{Array, assert_close, device, dtype, fixture, tolerance};
use serde::Deserialize;

/// Relative L2 distance of final latents in f32 from diffusers' in f32. Both round after every operation, in another
/// order; eight steps of a network of 60 layers leave a few 1e-6. What a wrong coefficient does starts at 1e-3.
const LATENTS: f64 = 2e-4;

/// Levels (of 255) that a byte may be off, and the share that may be off by more.
const LEVELS: u8 = 2;
const BEYOND: f64 = 0.005;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    prompt: String,
    negative: Option<String>,
    lora: Option<f32>,
    vae: String,
    scheduler: String,
    spacing: Option<String>,
    karras: bool,
    steps: Option<usize>,
    timesteps: Option<Vec<usize>>,
    eta: f64,
    guidance: f64,
    seed: u64,
    width: Option<usize>,
    height: Option<usize>,
    batch: usize,
}

impl Case {
    fn request(&self) -> Request {
        let steps = match (&self.timesteps, self.steps) {
            (Some(timesteps), _) => Steps::Timesteps(timesteps.clone()),
            (None, Some(steps)) => Steps::Count(steps),
            (None, None) => panic!("{}: neither steps nor timesteps", self.name),
        };
        Request {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            seed: self.seed,
            rng: Rng::TorchCpu,
            width: self.width,
            height: self.height,
            batch: self.batch,
            scheduler: Some(self.scheduler.parse::<Algorithm>().expect("a scheduler's name")),
            spacing: self.spacing.as_deref().map(|name| name.parse::<Spacing>().expect("a spacing's name")),
            karras: Some(self.karras),
            steps,
            eta: Some(self.eta),
            guidance: self.guidance,
        }
    }

    /// Cases with the same key share a loaded pipeline.
    fn key(&self) -> (String, Option<String>) {
        (self.vae.clone(), self.lora.map(|weight| weight.to_string()))
    }

    fn load(&self) -> Pipeline {
        let mut builder =
            Pipeline::open(fixtures().join("tiny-sd15")).expect("the tiny model").dtype(dtype());
        if let Some(weight) = self.lora {
            builder = builder.lora(fixtures().join("tiny-sd15-lora.safetensors"), weight).expect("the LoRA");
        }
        if self.vae == "taesd" {
            builder = builder.vae(fixtures().join("tiny-taesd")).expect("the TAESD");
        }
        builder.load(&device()).expect("the pipeline")
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(fixtures().join("pipelines/cases.json")).expect("cases.json");
    serde_json::from_str(&text).expect("cases.json")
}

/// Row `index` of the first dimension.
fn row(array: &Array, index: usize) -> Array {
    let size: usize = array.shape[1..].iter().product();
    Array { shape: array.shape[1..].to_vec(), data: array.data[index * size..][..size].to_vec() }
}

#[test]
fn latents_and_pixels_are_those_of_diffusers() {
    let mut pipelines = BTreeMap::new();
    for case in cases() {
        let pipeline = pipelines.entry(case.key()).or_insert_with(|| case.load());
        let want = fixture(fixtures().join(format!("pipelines/{}.safetensors", case.name)));

        let noise = Noise::new(Rng::TorchCpu, case.seed).normal(&want["noise"].shape);
        assert_eq!(*noise.to_f32(), want["noise"].data, "{}: the noise, bit for bit", case.name);

        let x = denoise(&case, pipeline, &want);
        let images = pipeline.decode(x.clone()).expect("pixels");
        assert_close(&case.name, x, &want["latents"], tolerance(LATENTS));

        let pixels: Vec<u8> = images.iter().flat_map(|image| image.rgb8().to_vec()).collect();
        assert_pixels(&case.name, &pixels, &want["pixels"]);
    }
}

/// The final latents; where the case has them, those after every step are compared on the way.
fn denoise(case: &Case, pipeline: &Pipeline, want: &BTreeMap<String, Array>) -> Tensor<4> {
    let mut last = None;
    for denoised in pipeline.denoise(&case.request()).expect("a request that can be right") {
        let denoised = denoised.expect("a step");
        if let Some(steps) = want.get("steps") {
            let name = format!("{}, step {}", case.name, denoised.index);
            assert_close(&name, denoised.x.clone(), &row(steps, denoised.index), tolerance(LATENTS));
        }
        last = Some(denoised.x);
    }
    last.expect("at least one step")
}

fn assert_pixels(name: &str, got: &[u8], want: &Array) {
    assert_eq!(got.len(), want.data.len(), "{name}: bytes");
    let beyond =
        got.iter().zip(&want.data).filter(|&(&got, &want)| got.abs_diff(want as u8) > LEVELS).count();
    let share = beyond as f64 / got.len() as f64;
    assert!(
        share <= tolerance(BEYOND),
        "{name}: {:.2} % of bytes are off by more than {LEVELS}",
        100.0 * share
    );
}

#[test]
fn every_lora_module_is_applied() {
    let case = cases().into_iter().find(|case| case.lora.is_some()).expect("a case with a LoRA");
    let pipeline = case.load();
    let [report] = pipeline.lora_reports() else { panic!("one report for one file") };
    assert_eq!((report.applied, report.modules), (278, 278));
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let case = cases().into_iter().find(|case| case.name == "tcd-4-eta-1.0").expect("the case");
    let pipeline = case.load();
    let draw = || pipeline.generate(&case.request()).expect("a picture");
    assert_eq!(draw(), draw());
}

#[test]
fn a_preview_decodes_and_the_iterator_knows_its_length() {
    let case = cases().into_iter().find(|case| case.name == "ddim-4").expect("the case");
    let pipeline = case.load();
    let mut steps = pipeline.denoise(&case.request()).expect("a request");
    assert_eq!(steps.len(), 4);
    let first = steps.next().expect("four steps").expect("a step");
    assert_eq!((first.index, first.steps, first.t, steps.len()), (0, 4, 999.0, 3));
    let preview = pipeline.decode(first.x0).expect("a preview");
    assert_eq!((preview.len(), preview[0].width(), preview[0].height()), (1, 128, 128));
}
