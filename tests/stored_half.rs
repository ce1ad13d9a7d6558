//! Whole pipelines with weights stored in half precision on the CPU: the pictures are, to the bit, those of f32
//! weights with the same values, because only the storage differs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use hypersd::{Algorithm, Control, Device, FloatDType, Image, Pipeline, Products, Request, Steps};
use hypersd_core::{HostData, HostTensor, SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::weights;

/// Copies a folder with every weight rounded to a half type and stored in it.
fn round(from: &Path, to: &Path, dtype: FloatDType) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            round(&from, &to, dtype);
        } else if from.extension().is_some_and(|extension| extension == "safetensors") {
            round_file(&from, &to, dtype);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

fn round_file(from: &Path, to: &Path, dtype: FloatDType) {
    let file = SafetensorsFile::open(from).expect("weights");
    let tensor = |name: String| {
        let tensor = file.tensor(&name).expect("a tensor");
        let x = tensor.to_f32();
        let data = match dtype {
            FloatDType::F16 => HostData::F16(x.iter().map(|&x| f16::from_f32(x)).collect()),
            _ => HostData::BF16(x.iter().map(|&x| bf16::from_f32(x)).collect()),
        };
        let shape = tensor.shape.clone();
        (name, HostTensor { shape, data })
    };
    let tensors: Vec<_> = file.names().into_iter().map(tensor).collect();
    save_safetensors(to, tensors.iter().map(|(name, x)| (name.as_str(), x))).expect("a file");
}

/// A picture, with guidance and a ControlNet.
fn picture([model, vae, controlnet]: [&Path; 3], dtype: FloatDType) -> Image {
    let pipeline = Pipeline::open(model)
        .and_then(|builder| builder.vae(vae))
        .and_then(|builder| builder.controlnet(controlnet))
        .expect("the model")
        .dtype(dtype)
        .products(Products::F32)
        .load(&Device::flex())
        .expect("the pipeline");
    let pixels = (0..96 * 64).flat_map(|i| [if i % 16 == 0 { 255 } else { 0 }; 3]).collect();
    let request = Request {
        prompt: "a photo of a cat".into(),
        negative: Some("a dog".into()),
        guidance: 2.0,
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(2),
        controls: vec![Control::new(Image::from_rgb8(96, 64, pixels).expect("an image"))],
        ..Request::default()
    };
    let [image] = pipeline.generate(&request).expect("a picture").try_into().expect("one picture");
    image
}

#[test]
fn pictures_are_those_of_f32_weights_with_the_same_values() {
    for dtype in [FloatDType::F16, FloatDType::BF16] {
        for parts in [
            ["tiny-sd15", "tiny-taesd", "tiny-controlnet-sd15"],
            ["tiny-sdxl", "tiny-sdxl/vae", "tiny-controlnet-sdxl"],
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let rounded = parts.map(|part| folder.path().join(part));
            parts.iter().zip(&rounded).for_each(|(part, to)| round(&weights("").join(part), to, dtype));
            let [half, wide] = [dtype, FloatDType::F32]
                .map(|dtype| picture(rounded.each_ref().map(PathBuf::as_path), dtype));
            assert!(half == wide, "{parts:?} in {dtype:?}");
        }
    }
}
