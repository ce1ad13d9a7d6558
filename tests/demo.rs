//! The embedded demo model: it is what diffusers makes of its files, and there is in its pictures what was asked for.
//!
//! `reference/demo.py` ran the cases of `demo/parity` through diffusers. The captions and edge maps were held out from
//! the model's training; `examples/measure` prints the same figures for all of them.

#[path = "common/parity.rs"]
mod parity;

use std::collections::BTreeMap;

use hypersd::{Algorithm, Canny, Control, Image, Pipeline, PipelineBuilder, Recipe, Request, Spacing, Steps};
use hypersd_testing::{
    device, dtype,
    measure::{Caption, EdgeMap, EdgeTally, Judge, Tally, list},
};
use parity::fixtures;
use serde::Deserialize;

/// Captions and edge maps that are drawn, of those that there are.
const CAPTIONS: usize = 24;
const EDGE_MAPS: usize = 12;

/// Least share of the LoRA's one-step pictures with the right thing in the right colour.
const BOTH_RIGHT: f64 = 0.8;
/// How much larger that share is at least than that of the base model in one step.
const BEYOND_BASE: f64 = 0.25;
/// Least share that is still right when the finest details are gone: what counts is not sharpness.
const RIGHT_WHEN_SOFTENED: f64 = 0.7;
/// How much the ControlNet adds at least to F1 of the edges.
const BEYOND_NO_CONTROL: f64 = 0.1;

#[derive(Debug, Deserialize)]
struct Case {
    #[serde(flatten)]
    common: parity::Case,
    lora: Option<f32>,
    /// An edge map of `demo/edges`.
    control_image: Option<String>,
}

fn open() -> PipelineBuilder {
    Pipeline::open(hypersd_demo::model()).expect("the model").dtype(dtype())
}

fn with_lora() -> PipelineBuilder {
    open().lora(hypersd_demo::hyper_lora(), 1.0).expect("the LoRA")
}

fn load(builder: PipelineBuilder) -> Pipeline {
    builder.load(&device()).expect("the pipeline")
}

fn edges(file: &str) -> Image {
    Image::open(fixtures().join("demo/edges").join(file)).expect("an edge map")
}

fn control(image: Image) -> Vec<Control> {
    vec![Control::new(image)]
}

fn one_step(prompt: &str, seed: usize) -> Request {
    Request { seed: seed as u64, ..Recipe::HYPER_SD15_UNIFIED.request(prompt) }
}

fn draw(pipeline: &Pipeline, request: &Request) -> Image {
    let [image] = &pipeline.generate(request).expect("a picture")[..] else { panic!("one picture") };
    image.clone()
}

#[test]
fn the_demo_is_diffusers() {
    let mut pipelines = BTreeMap::new();
    for case in parity::cases::<Case>("demo/parity") {
        let key = format!("{:?} {}", case.lora, case.control_image.is_some());
        let pipeline = pipelines.entry(key).or_insert_with(|| {
            let mut builder = open();
            if let Some(weight) = case.lora {
                builder = builder.lora(hypersd_demo::hyper_lora(), weight).expect("the LoRA");
            }
            if case.control_image.is_some() {
                builder = builder.controlnet(hypersd_demo::controlnet()).expect("the ControlNet");
            }
            load(builder)
        });
        let controls = case.control_image.as_deref().map(edges).map(control).unwrap_or_default();
        let request = Request { controls, ..case.common.request() };
        parity::assert_is_diffusers("demo/parity", &case.common.name, &request, pipeline);
    }
}

#[test]
fn one_step_draws_what_captions_ask_for() {
    let mut captions: Vec<Caption> = list(fixtures().join("demo/captions.json")).expect("the captions");
    captions.truncate(CAPTIONS);
    let judge = Judge::open(fixtures().join("demo/judge.safetensors"), &device()).expect("the judge");
    let right = |pictures: &[Image]| {
        let mut tally = Tally::default();
        for (caption, picture) in captions.iter().zip(pictures) {
            tally.count(caption, &judge.verdict(picture.rgb8()));
        }
        tally.share(tally.both)
    };
    let requests: Vec<_> =
        captions.iter().enumerate().map(|(seed, caption)| one_step(&caption.caption, seed)).collect();

    let hyper = load(with_lora());
    let drawn: Vec<_> = requests.iter().map(|request| draw(&hyper, request)).collect();
    let share = right(&drawn);
    assert!(share >= BOTH_RIGHT, "the LoRA in one step: {share:.3}");

    let soften = |image: &Image| image.resize(64, 64)?.resize(128, 128);
    let softened: Result<Vec<_>, _> = drawn.iter().map(soften).collect();
    let softened = right(&softened.expect("sizes that are right"));
    assert!(softened >= RIGHT_WHEN_SOFTENED, "softened: {softened:.3}");

    let base = load(open());
    let ddim = |request: Request| Request {
        scheduler: Some(Algorithm::Ddim),
        spacing: Some(Spacing::Trailing),
        eta: None,
        ..request
    };
    let drawn: Vec<_> = requests.into_iter().map(|request| draw(&base, &ddim(request))).collect();
    let base = right(&drawn);
    assert!(share >= base + BEYOND_BASE, "the LoRA in one step: {share:.3}, the base model: {base:.3}");
}

#[test]
fn the_controlnet_is_followed() {
    let mut maps: Vec<EdgeMap> = list(fixtures().join("demo/edges.json")).expect("the edge maps");
    maps.truncate(EDGE_MAPS);
    let (without, with) = (
        load(with_lora()),
        load(with_lora().controlnet(hypersd_demo::controlnet()).expect("the ControlNet")),
    );
    let [mut free, mut guided] = [EdgeTally::default(); 2];
    for (seed, map) in maps.iter().enumerate() {
        let (given, request) = (edges(&map.file), one_step(&map.caption, seed));
        let count = |tally: &mut EdgeTally, picture: &Image| {
            let found = Canny::default().edges(picture).expect("thresholds that are numbers");
            tally.count(given.rgb8(), found.rgb8(), given.width());
        };
        count(&mut free, &draw(&without, &request));
        count(&mut guided, &draw(&with, &Request { controls: control(given.clone()), ..request }));
    }
    let (free, guided) = (free.f1(), guided.f1());
    assert!(guided >= free + BEYOND_NO_CONTROL, "F1 with the ControlNet {guided:.3}, without {free:.3}");
}

#[test]
fn a_seed_means_one_picture() {
    let (one, another) = (load(with_lora()), load(with_lora()));
    let request = Request { steps: Steps::Count(2), ..one_step(hypersd_demo::PROMPT, 7) };
    let picture = draw(&one, &request);
    assert_eq!((picture.width(), picture.height()), (128, 128));
    assert_eq!(picture, draw(&another, &request));
    assert_ne!(picture, draw(&one, &Request { seed: 8, ..request }));
}
