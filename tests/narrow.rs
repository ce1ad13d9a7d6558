//! Whole pipelines that multiply bf16 and int8 on the CPU: near what f32 makes, and the same whenever and however they are
//! loaded.

use std::path::PathBuf;

use hypersd::{
    Algorithm, Control, Device, FloatDType, Image, Pipeline, PipelineBuilder, Products, Request, Steps,
};
use hypersd_testing::weights;

/// Relative L2 of the latents after one step of networks with random weights, which make errors larger than trained ones
/// do: SD1.5 of full size has 2e-2 in bf16 and 4e-2 in int8, and fewer inputs of a sum leave more.
const NEAR: f64 = 0.15;

fn fixture(name: &str) -> PathBuf {
    weights("").join(name)
}

/// The ways to multiply narrow numbers, where there are any.
const WAYS: [(FloatDType, Option<Products>); 2] =
    [(FloatDType::BF16, None), (FloatDType::F32, Some(Products::Int8))];

fn open(family: &str, (dtype, products): (FloatDType, Option<Products>)) -> PipelineBuilder {
    let builder = Pipeline::open(fixture(&format!("tiny-{family}"))).expect("the tiny model").dtype(dtype);
    products.into_iter().fold(builder, PipelineBuilder::products)
}

fn request() -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(1),
        width: Some(96),
        height: Some(64),
        ..Request::default()
    }
}

/// What one step makes of fixed noise, to the bit.
fn latents(pipeline: &Pipeline, request: &Request) -> Vec<f32> {
    let x = pipeline.latents(request).expect("latents");
    x.into_data().try_into_vec_as().expect("f32")
}

fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let difference: f64 = got.iter().zip(want).map(|(got, want)| square(got - want)).sum();
    (difference / want.iter().map(|&want| square(want)).sum::<f64>()).sqrt()
}

#[test]
fn narrow_numbers_are_near_wide_ones() {
    for family in ["sd15", "sdxl"] {
        let wide = open(family, (FloatDType::F32, None)).load(&Device::flex()).expect("the pipeline");
        assert_eq!(wide.products(), Products::F32);
        let want = latents(&wide, &request());
        for way in WAYS {
            let pipeline = open(family, way).load(&Device::flex()).expect("the pipeline");
            let error = relative_l2(&latents(&pipeline, &request()), &want);
            assert!(error > 0.0 && error < NEAR, "{family} {way:?}: {error}");
            pipeline.generate(&request()).expect("a picture");
        }
    }
}

#[test]
fn int8_is_multiplied_on_every_processor() {
    let pipeline = open("sd15", WAYS[1]).load(&Device::flex()).expect("the pipeline");
    assert_eq!(pipeline.products(), Products::Int8);
}

#[test]
fn exchanged_loras_are_what_loading_with_them_makes() {
    let lora = fixture("tiny-sd15-lora.safetensors");
    for way in WAYS {
        let load = |builder: PipelineBuilder| builder.load(&Device::flex()).expect("the pipeline");
        let with = open("sd15", way).lora(&lora, 0.5).expect("the LoRA");
        let (base, with) = (latents(&load(open("sd15", way)), &request()), latents(&load(with), &request()));
        assert_ne!(base, with);
        for low_memory in [false, true] {
            let builder = open("sd15", way);
            let mut pipeline = load(if low_memory { builder.low_memory() } else { builder });
            pipeline.set_loras(&[(&lora, 0.5)]).expect("exchanged");
            assert_eq!(latents(&pipeline, &request()), with, "{way:?}");
            pipeline.set_loras::<PathBuf, f32>(&[]).expect("taken away");
            assert_eq!(latents(&pipeline, &request()), base, "{way:?}");
        }
    }
}

/// Int8 and bf16 with guidance and a ControlNet, on one thread and on three.
#[test]
fn threads_do_not_change_a_bit() {
    let image =
        Image::from_rgb8(96, 64, (0..96 * 64 * 3).map(|i| (i % 251) as u8).collect()).expect("an image");
    let request = Request { guidance: 3.0, controls: vec![Control::new(image)], ..request() };
    for way in WAYS {
        let builder = open("sd15", way).controlnet(fixture("tiny-controlnet-sd15")).expect("the ControlNet");
        let pipeline = builder.load(&Device::flex()).expect("the pipeline");
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| latents(&pipeline, &request))
        };
        assert!(run(1) == run(3), "{way:?}");
    }
}
