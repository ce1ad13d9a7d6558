//! A UNet file that says it predicts velocity is sampled so, as a folder that says it is.

use std::{fs, path::Path};

use hypersd::{Pipeline, PipelineBuilder, PredictionType, Request, Steps};
use hypersd_core::{HostTensor, SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::{device, weights};
use serde_json::Value;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const SCHEDULER: &str = "scheduler/scheduler_config.json";

/// The tiny model's UNet, with tensors by whose names alone fine-tunes are marked.
fn marked_unet(model: &Path, path: &Path, marks: &[&str]) {
    let source = SafetensorsFile::open(model.join(UNET)).expect("the UNet");
    let own = source.names().into_iter().map(|name| {
        let tensor = source.tensor(&name).expect("a tensor").into_owned();
        (name, tensor)
    });
    let marks = marks.iter().map(|mark| (mark.to_string(), HostTensor::from_f32([0], Vec::new())));
    let tensors: Vec<(String, HostTensor<'_>)> = own.chain(marks).collect();
    save_safetensors(path, tensors.iter().map(|(name, x)| (name.as_str(), x))).expect("a file");
}

/// The tiny model with other settings in its scheduler's configuration.
fn configured(model: &Path, folder: &Path, settings: &[(&str, Value)]) {
    for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler", "."] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
        for entry in fs::read_dir(model.join(part)).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), folder.join(part).join(entry.file_name())).expect("a copy");
            }
        }
    }
    let text = fs::read_to_string(model.join(SCHEDULER)).expect("the configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    for (field, value) in settings {
        config[field] = value.clone();
    }
    fs::write(folder.join(SCHEDULER), config.to_string()).expect("a file");
}

fn latents(builder: PipelineBuilder) -> Vec<f32> {
    latents_of(builder, None)
}

fn latents_of(builder: PipelineBuilder, prediction: Option<PredictionType>) -> Vec<f32> {
    let (steps, width, height) = (Steps::Count(2), Some(96), Some(64));
    let request = Request { steps, width, height, prediction, ..Request::default() };
    let x = builder.load(&device()).expect("the pipeline").latents(&request).expect("latents");
    x.into_data().try_into_vec_as().expect("f32")
}

#[test]
fn a_file_is_sampled_as_it_was_trained() {
    let model = weights("").join("tiny-sd15");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let noise = latents(Pipeline::open(&model).expect("the model"));

    let velocity = ("prediction_type", Value::from("v_prediction"));
    let zero_snr = ("rescale_betas_zero_snr", Value::from(true));
    let cases =
        [(vec!["v_pred"], vec![velocity.clone()]), (vec!["v_pred", "ztsnr"], vec![velocity, zero_snr])];
    for (index, (marks, settings)) in cases.into_iter().enumerate() {
        let other = folder.path().join(index.to_string());
        configured(&model, &other, &settings);
        let want = latents(Pipeline::open(&other).expect("the model with other settings"));
        assert_ne!(want, noise, "{marks:?}");

        let unet = folder.path().join(format!("{index}.safetensors"));
        marked_unet(&model, &unet, &marks);
        let got =
            Pipeline::open(&model).and_then(|builder| builder.unet(&unet)).expect("the model with a file");
        assert_eq!(latents(got), want, "{marks:?}");
    }
}

#[test]
fn a_request_says_it_where_the_files_are_wrong() {
    let model = weights("").join("tiny-sd15");
    let folder = tempfile::tempdir().expect("a temporary folder");
    configured(&model, folder.path(), &[("prediction_type", "v_prediction".into())]);
    let open = |folder: &Path| Pipeline::open(folder).expect("the model");
    let [noise, velocity] = [model.as_path(), folder.path()].map(|folder| latents(open(folder)));
    assert_eq!(latents_of(open(&model), Some(PredictionType::VPrediction)), velocity);
    assert_eq!(latents_of(open(folder.path()), Some(PredictionType::Epsilon)), noise);
}
