//! A VAE that overflows in half precision is noticed, and decoded again in f32. The CPU computes in f32 whatever the
//! weights are stored in, so that there nothing overflows but a weight itself.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use hypersd::{Device, FloatDType, Image, Notice, Pipeline, Request, Steps, Tensor};
use hypersd_core::{HostTensor, SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::weights;
use serde_json::Value;

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// A tiny VAE with a first convolution `loudness` times as large. The norms behind it take the factor out again, so that
/// only what lies between sees it, and f16 ends at 65504.
fn loud_vae(model: &str, folder: &Path, loudness: f32, force_upcast: bool) {
    let own = weights("").join(model).join("vae");
    let config = fs::read_to_string(own.join("config.json")).expect("the configuration");
    let mut config: Value = serde_json::from_str(&config).expect("JSON");
    config["force_upcast"] = force_upcast.into();
    fs::write(folder.join("config.json"), config.to_string()).expect("a file");
    let source = SafetensorsFile::open(own.join(WEIGHTS)).expect("the VAE");
    let tensor = |name: String| {
        let tensor = source.tensor(&name).expect("a tensor").into_owned();
        let factor = if name.starts_with("decoder.conv_in.") { loudness } else { 1.0 };
        let data = tensor.to_f32().iter().map(|x| factor * x).collect();
        (name, HostTensor::from_f32(tensor.shape.clone(), data))
    };
    let tensors: Vec<(String, HostTensor<'_>)> = source.names().into_iter().map(tensor).collect();
    save_safetensors(folder.join(WEIGHTS), tensors.iter().map(|(name, x)| (name.as_str(), x)))
        .expect("a file");
}

/// The picture of a model with the VAE in a type, from the same latents for every type, and what it gives notice of.
fn decode(model: &str, vae: &Path, dtype: FloatDType) -> (Image, Vec<Notice>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let sink = notices.clone();
    let pipeline = Pipeline::open(weights("").join(model))
        .and_then(|builder| builder.vae(vae))
        .expect("the model")
        .dtype(dtype)
        .on_notice(move |notice| sink.lock().expect("one thread").push(notice))
        .load(&Device::flex())
        .expect("the pipeline");
    let images = pipeline.decode(latents()).expect("finite pixels");
    let [image] = images.try_into().expect("one picture");
    let notices = notices.lock().expect("one thread").clone();
    (image, notices)
}

/// The same for every type, so that only the decoder differs.
fn latents() -> Tensor<4> {
    let pipeline = Pipeline::open(weights("").join("tiny-sd15")).expect("the model").load(&Device::flex());
    let request = Request { steps: Steps::Count(1), width: Some(96), height: Some(64), ..Request::default() };
    pipeline.expect("the pipeline").latents(&request).expect("latents")
}

/// The factor at which what lies between overflows in f16, and weights do not.
const LOUD: f32 = 1e5;
/// The factor at which weights do.
const TOO_LOUD: f32 = 1e8;

#[test]
fn weights_that_overflow_in_f16_are_read_again_in_f32_with_a_notice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for model in ["tiny-sd15", "tiny-sdxl"] {
        loud_vae(model, folder.path(), TOO_LOUD, false);
        let (want, silence) = decode(model, folder.path(), FloatDType::F32);
        assert_eq!(silence, []);
        let (got, notices) = decode(model, folder.path(), FloatDType::F16);
        assert_eq!(notices, [Notice::DecodedInF32], "{model}");
        assert_eq!(got, want, "{model}");
    }
}

/// A VAE that says it overflows in f16 does so in its arithmetic, which is f32 on the CPU: its weights stay in f16 there.
/// Where a GPU computes in f16, SDXL's is read in f32 instead, which `src/draw/autoencoder.rs` decides and tests.
#[test]
fn a_vae_that_says_it_overflows_is_stored_as_asked_on_the_cpu() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    loud_vae("tiny-sdxl", folder.path(), LOUD, false);
    let (want, _) = decode("tiny-sdxl", folder.path(), FloatDType::F16);
    let (in_f32, _) = decode("tiny-sdxl", folder.path(), FloatDType::F32);
    loud_vae("tiny-sdxl", folder.path(), LOUD, true);
    let (got, notices) = decode("tiny-sdxl", folder.path(), FloatDType::F16);
    assert_eq!(notices, []);
    assert_eq!(got, want);
    assert_ne!(got, in_f32);
}

#[test]
fn what_lies_between_does_not_overflow_on_the_cpu() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    loud_vae("tiny-sd15", folder.path(), LOUD, false);
    let (got, notices) = decode("tiny-sd15", folder.path(), FloatDType::F16);
    assert_eq!(notices, []);
    let (want, _) = decode("tiny-sd15", folder.path(), FloatDType::F32);
    // Weights that were rounded to 11 bits, behind which a picture of 8 bits differs by little.
    let off = |(got, want): (&u8, &u8)| f64::from(got.abs_diff(*want));
    let mean = got.rgb8().iter().zip(want.rgb8()).map(off).sum::<f64>() / want.rgb8().len() as f64;
    assert!(mean < 1.0, "off by {mean} levels on average");
}

#[test]
fn what_does_not_overflow_is_decoded_as_asked() {
    let (_, notices) = decode("tiny-sd15", &weights("").join("tiny-sd15/vae"), FloatDType::F16);
    assert_eq!(notices, []);
}
