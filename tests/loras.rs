//! LoRAs exchanged on a loaded pipeline: exact, and without a trace.

use std::{fs, path::PathBuf};

use hypersd::{Algorithm, LoraWeights, Pipeline, Request, Steps};
use hypersd_testing::{device, dtype, weights};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    weights("").join(name)
}

fn load(loras: &[(PathBuf, f32)]) -> Pipeline {
    let mut builder = Pipeline::open(fixture("tiny-sd15")).expect("the tiny model").dtype(dtype());
    for (path, weight) in loras {
        builder = builder.lora(path, *weight).expect("the LoRA");
    }
    builder.load(&device()).expect("the pipeline")
}

/// What one step makes of fixed noise, to the bit.
fn picture(pipeline: &Pipeline) -> Vec<f32> {
    let request = Request {
        prompt: "a photo of a cat".into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(1),
        width: Some(96),
        height: Some(64),
        ..Request::default()
    };
    let x = pipeline.latents(&request).expect("latents");
    x.into_data().try_into_vec_as().expect("f32")
}

#[test]
fn exchanged_is_what_loading_with_them_makes() {
    let lora = fixture("tiny-sd15-lora.safetensors");
    let base = picture(&load(&[]));
    let with_one = picture(&load(&[(lora.clone(), 1.0)]));
    let with_two = picture(&load(&[(lora.clone(), 0.5), (lora.clone(), -0.25)]));
    assert_ne!(base, with_one);

    let mut pipeline = load(&[]);
    pipeline.set_loras(&[(&lora, 1.0)]).expect("exchanged");
    assert_eq!(picture(&pipeline), with_one);
    assert_eq!((pipeline.lora_reports().len(), pipeline.lora_reports()[0].applied), (1, 278));
    pipeline.set_loras(&[(&lora, 0.5), (&lora, -0.25)]).expect("exchanged");
    assert_eq!(picture(&pipeline), with_two);
    pipeline.set_loras::<PathBuf, f32>(&[]).expect("taken away");
    assert_eq!(picture(&pipeline), base);
    assert!(pipeline.lora_reports().is_empty());
}

#[test]
fn weights_may_differ_between_networks() {
    let lora = fixture("tiny-sd15-lora.safetensors");
    let mut pipeline = load(&[]);
    let base = picture(&pipeline);
    // The file is for the UNet alone, so its weight in the text encoder does nothing.
    let weights = |unet, text_encoder| LoraWeights { unet, text_encoder, text_encoder_2: 0.0 };
    pipeline.set_loras(&[(&lora, weights(0.0, 1.0))]).expect("exchanged");
    assert_eq!(picture(&pipeline), base);
    pipeline.set_loras(&[(&lora, weights(1.0, 0.0))]).expect("exchanged");
    assert_eq!(picture(&pipeline), picture(&load(&[(lora, 1.0)])));
}

#[test]
fn a_file_that_fails_leaves_the_pipeline_as_it_was() {
    let lora = fixture("tiny-sd15-lora.safetensors");
    let mut pipeline = load(&[(lora.clone(), 1.0)]);
    let before = picture(&pipeline);

    pipeline.set_loras(&[(fixture("no-such-file.safetensors"), 1.0)]).expect_err("no file");
    pipeline.set_loras(&[(fixture("tiny-sdxl-lora.safetensors"), 1.0)]).expect_err("another family");
    pipeline.set_loras(&[(&lora, f32::NAN)]).expect_err("a weight that is no number");

    // A factor that is not finite is found only when it is read, with other weights exchanged already.
    let mut bytes = fs::read(&lora).expect("the LoRA");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broken = folder.path().join("broken.safetensors");
    fs::write(&broken, bytes).expect("a file");
    pipeline.set_loras(&[(&broken, 1.0)]).expect_err("a factor that is not finite");

    assert_eq!(picture(&pipeline), before);
    assert_eq!(pipeline.lora_reports().len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// However often LoRAs come and go, the base comes back to the bit.
    #[test]
    fn nothing_is_left_behind(weights in prop::collection::vec(-2.0_f32..2.0, 1..4)) {
        let lora = fixture("tiny-sd15-lora.safetensors");
        let mut pipeline = load(&[]);
        let base = picture(&pipeline);
        for weight in weights {
            pipeline.set_loras(&[(&lora, weight)]).expect("exchanged");
        }
        pipeline.set_loras::<PathBuf, f32>(&[]).expect("taken away");
        prop_assert_eq!(picture(&pipeline), base);
    }
}
