//! Whole pipelines beside diffusers': the cases that the `reference/pipelines*.py` recorded, and how they are compared.

use std::{collections::BTreeMap, path::PathBuf};

use hypersd::{Algorithm, FloatDType, Pipeline, Request, Rng, Spacing, Start, Steps, Tensor};
use hypersd_core::Noise;
use hypersd_testing::{Array, assert_close, dtype, fixture, on_cpu, pipeline_tolerance, tolerance};
use serde::{Deserialize, de::DeserializeOwned};

/// Relative L2 distance of final latents in f32 from diffusers' in f32. Both round after every operation, in another
/// order; eight steps of a network of 60 layers leave a few 1e-6. What a wrong coefficient does starts at 1e-3.
const LATENTS: f64 = 2e-4;

/// Levels (of 255) that a byte may be off, in f32 on the CPU and elsewhere, and the share that may be off by more. A
/// picture of random weights has no smooth parts, so that a level of difference means as little in one as in 8.
const LEVELS: u8 = 2;
const LEVELS_OF_HALF: u8 = 8;
const BEYOND: f64 = 0.005;

/// What every case of a `cases.json` says; `reference/cases.py` tells the meanings.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) prompt: String,
    pub(crate) negative: Option<String>,
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
    /// The case as a request without controls.
    pub(crate) fn request(&self) -> Request {
        let steps = match (&self.timesteps, self.steps) {
            (Some(timesteps), _) => Steps::Timesteps(timesteps.clone()),
            (None, Some(steps)) => Steps::Count(steps),
            (None, None) => panic!("{}: neither steps nor timesteps", self.name),
        };
        Request {
            prompt: self.prompt.as_str().into(),
            negative: self.negative.as_deref().map(Into::into),
            seed: self.seed,
            rng: Rng::TorchCpu,
            width: self.width,
            height: self.height,
            batch: self.batch,
            scheduler: Some(self.scheduler.parse::<Algorithm>().expect("a scheduler's name")),
            spacing: self.spacing.as_deref().map(|name| name.parse::<Spacing>().expect("a spacing's name")),
            karras: Some(self.karras),
            original_steps: None,
            timestep_shift: None,
            prediction: None,
            steps,
            eta: Some(self.eta),
            guidance: self.guidance,
            start: Start::Noise,
            controls: Vec::new(),
            ..Request::default()
        }
    }
}

pub(crate) fn fixtures() -> PathBuf {
    hypersd_testing::fixtures("")
}

/// The cases of a folder under the fixtures.
pub(crate) fn cases<T: DeserializeOwned>(folder: &str) -> Vec<T> {
    let path = fixtures().join(folder).join("cases.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("cases.json")
}

/// Asserts that the pipeline makes of the request what diffusers made of the case with this name: the noise to the bit,
/// where the case has it, the latents, and the pixels, where the case has them; then it is true.
pub(crate) fn assert_is_diffusers(folder: &str, name: &str, request: &Request, pipeline: &Pipeline) -> bool {
    let want = fixture(fixtures().join(folder).join(format!("{name}.safetensors")));

    if let Some(want) = want.get("noise") {
        let noise = Noise::new(Rng::TorchCpu, request.seed).normal(&want.shape);
        assert_eq!(*noise.to_f32(), want.data, "{name}: the noise, bit for bit");
    }

    let x = denoise(name, request, pipeline, &want);
    assert_close(name, x.clone(), &want["latents"], pipeline_tolerance(LATENTS));

    let Some(want) = want.get("pixels") else { return false };
    let images = request.start.paste(pipeline.decode(x).expect("pixels")).expect("pixels");
    let pixels: Vec<u8> = images.iter().flat_map(|image| image.rgb8().to_vec()).collect();
    assert_pixels(name, &pixels, want);
    true
}

/// The final latents; where the case has them, those after every step are compared on the way.
fn denoise(name: &str, request: &Request, pipeline: &Pipeline, want: &BTreeMap<String, Array>) -> Tensor<4> {
    let mut last = None;
    for denoised in pipeline.denoise(request).expect("a request that can be right") {
        let denoised = denoised.expect("a step");
        if let Some(steps) = want.get("steps") {
            let name = format!("{name}, step {}", denoised.index);
            assert_close(&name, denoised.x.clone(), &row(steps, denoised.index), pipeline_tolerance(LATENTS));
        }
        last = Some(denoised.x);
    }
    last.expect("at least one step")
}

fn assert_pixels(name: &str, got: &[u8], want: &Array) {
    assert_eq!(got.len(), want.data.len(), "{name}: bytes");
    let exact = on_cpu() && dtype() == FloatDType::F32;
    let levels = if exact { LEVELS } else { LEVELS_OF_HALF };
    let beyond =
        got.iter().zip(&want.data).filter(|&(&got, &want)| got.abs_diff(want as u8) > levels).count();
    let share = beyond as f64 / got.len() as f64;
    assert!(
        share <= tolerance(BEYOND),
        "{name}: {:.2} % of bytes are off by more than {levels}",
        100.0 * share
    );
}

/// Row `index` of the first dimension.
fn row(array: &Array, index: usize) -> Array {
    let size: usize = array.shape[1..].iter().product();
    Array { shape: array.shape[1..].to_vec(), data: array.data[index * size..][..size].to_vec() }
}
