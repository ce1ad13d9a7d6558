//! Pipelines that keep no weights in memory: the same pictures to the byte, and faults of files found as early.

use std::{fs, path::PathBuf};

use hypersd::{Algorithm, Control, Image, Pipeline, PipelineBuilder, Request, Steps};
use hypersd_core::{SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::{device, dtype, weights};

fn fixture(name: &str) -> PathBuf {
    weights("").join(name)
}

fn open(family: &str) -> PipelineBuilder {
    Pipeline::open(fixture(&format!("tiny-{family}"))).expect("the tiny model").dtype(dtype())
}

fn load(builder: PipelineBuilder) -> Pipeline {
    builder.load(&device()).expect("the pipeline")
}

fn request() -> Request {
    Request {
        prompt: "a photo of a cat".into(),
        guidance: 2.0,
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(2),
        width: Some(96),
        height: Some(64),
        ..Request::default()
    }
}

fn pictures(pipeline: &Pipeline, request: &Request) -> Vec<Image> {
    pipeline.generate(request).expect("pictures")
}

#[test]
fn pictures_are_those_of_weights_in_memory() {
    let pixels = (0..96 * 64).flat_map(|i| [if i % 16 == 0 { 255 } else { 0 }; 3]).collect();
    let control = Control::new(Image::from_rgb8(96, 64, pixels).expect("an image"));
    for (family, vae) in [("sd15", "tiny-taesd"), ("sdxl", "tiny-sdxl/vae")] {
        let open = || {
            open(family)
                .vae(fixture(vae))
                .and_then(|builder| builder.controlnet(fixture(&format!("tiny-controlnet-{family}"))))
                .and_then(|builder| builder.lora(fixture(&format!("tiny-{family}-lora.safetensors")), 1.0))
                .expect("the parts")
        };
        let (kept, low) = (load(open()), load(open().low_memory()));
        let controls = vec![control.clone()];
        for request in [
            Request { controls: controls.clone(), ..request() },
            Request { controls: controls.clone(), negative: Some("a dog".into()), batch: 2, ..request() },
            Request { controls, guidance: 0.0, ..request() },
        ] {
            let want = pictures(&kept, &request);
            assert!(pictures(&low, &request) == want, "{family}, {request:?}");
            assert!(pictures(&low, &request) == want, "{family}, again");
            assert_eq!(
                low.provenance(&request).expect("its making"),
                kept.provenance(&request).expect("the same")
            );
        }
    }
}

#[test]
fn loras_are_exchanged() {
    let lora = fixture("tiny-sd15-lora.safetensors");
    let with = |weight| open("sd15").lora(&lora, weight).expect("the LoRA");
    let mut low = load(with(1.0).low_memory());
    low.set_loras(&[(&lora, 0.5)]).expect("exchanged");
    assert_eq!(low.lora_reports()[0].applied, 278);
    assert!(pictures(&low, &request()) == pictures(&load(with(0.5)), &request()));
    low.set_loras(&[(fixture("tiny-sdxl-lora.safetensors"), 1.0)]).expect_err("another family");
    assert!(pictures(&low, &request()) == pictures(&load(with(0.5)), &request()));
    low.set_loras::<PathBuf, f32>(&[]).expect("taken away");
    assert!(pictures(&low, &request()) == pictures(&load(open("sd15")), &request()));
}

#[test]
fn a_file_that_lacks_a_tensor_is_refused_before_anything_is_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = fixture("tiny-sd15/vae");
    let weights = "diffusion_pytorch_model.safetensors";
    fs::copy(own.join("config.json"), folder.path().join("config.json")).expect("a copy");
    let source = SafetensorsFile::open(own.join(weights)).expect("the VAE");
    let tensor = |name: String| source.tensor(&name).map(|tensor| (name, tensor)).expect("a tensor");
    let left: Vec<_> =
        source.names().into_iter().filter(|name| name != "decoder.conv_out.bias").map(tensor).collect();
    let tensors = left.iter().map(|(name, tensor)| (name.as_str(), tensor));
    save_safetensors(folder.path().join(weights), tensors).expect("a file");

    let builder = open("sd15").vae(folder.path()).expect("the VAE");
    let error = builder.low_memory().load(&device()).expect_err("a tensor short").to_string();
    assert!(error.contains("decoder.conv_out.bias"), "{error}");
}
