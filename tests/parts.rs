//! Models that come in parts: what a folder or a file lacks is given beside it, and draws what the whole model draws.

#[path = "common/copies.rs"]
mod copies;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use copies::copied;
use hypersd::{Error, Notice, Pipeline, PipelineBuilder, Request, Steps};
use hypersd_core::{HostTensor, SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::{device, dtype, weights, write_single_file};

fn request() -> Request {
    Request { steps: Steps::Count(1), width: Some(64), height: Some(64), ..Request::default() }
}

fn drawn(builder: PipelineBuilder) -> Vec<f32> {
    let pipeline = builder.dtype(dtype()).load(&device()).expect("the pipeline");
    pipeline.latents(&request()).expect("latents").into_data().try_into_vec_as().expect("f32")
}

fn model(name: &str) -> PathBuf {
    weights("").join(name)
}

fn open(model: &Path) -> PipelineBuilder {
    Pipeline::open(model).expect("the model")
}

/// A copy of a file, with the tensors that `keep` keeps, and more.
fn edited(file: &Path, copy: &Path, keep: impl Fn(&str) -> bool, more: &[&str]) {
    let source = SafetensorsFile::open(file).expect("a file");
    let own = source.names().into_iter().filter(|name| keep(name));
    let own = own.map(|name| {
        let tensor = source.tensor(&name).expect("a tensor").into_owned();
        (name, tensor)
    });
    let more = more.iter().map(|name| (name.to_string(), HostTensor::from_f32([1], vec![1.0])));
    let tensors: Vec<(String, HostTensor<'_>)> = own.chain(more).collect();
    save_safetensors(copy, tensors.iter().map(|(name, x)| (name.as_str(), x))).expect("a file");
}

#[test]
fn what_a_folder_lacks_is_given_beside_it() {
    let whole = model("tiny-sdxl");
    let want = drawn(open(&whole));
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let folder = copied(&whole, scratch.path());
    for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
        fs::remove_dir_all(folder.join(part)).expect("a folder");
    }
    let bare = || open(&folder);
    let refused = |builder: PipelineBuilder| match builder.check(&request()) {
        Err(error @ Error::Unsupported { .. }) => error.to_string(),
        other => panic!("expected a missing part, found {other:?}"),
    };
    assert!(refused(bare()).contains("--unet"), "{}", refused(bare()));
    let unet = bare().unet(whole.join("unet")).expect("the UNet");
    assert!(refused(unet).contains("--text-encoder"));
    let all = bare()
        .unet(whole.join("unet"))
        .and_then(|builder| builder.text_encoder(whole.join("text_encoder")))
        .and_then(|builder| builder.text_encoder_2(whole.join("text_encoder_2")));
    let all = all.expect("the parts");
    let all = all.vae(whole.join("vae")).expect("the VAE");
    assert_eq!(drawn(all), want);
}

#[test]
fn what_a_file_lacks_is_given_beside_it() {
    for (name, vae, clip) in [
        ("tiny-sd15", "first_stage_model.", "cond_stage_model."),
        ("tiny-sdxl", "first_stage_model.", "conditioner.embedders.0."),
    ] {
        let whole = model(name);
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let file = write_single_file(&whole, scratch.path());
        let want = drawn(open(&file));
        let part = scratch.path().join("part.safetensors");
        edited(&file, &part, |name| !name.starts_with(vae) && !name.starts_with(clip), &[]);
        let error = open(&part).check(&request()).expect_err("no VAE").to_string();
        assert!(error.contains("part.safetensors") && error.contains("--"), "{error}");
        // From folders, from the whole file, and an encoder alone in a file.
        let encoder = scratch.path().join("clip_l.safetensors");
        fs::copy(whole.join("text_encoder/model.safetensors"), &encoder).expect("a copy");
        for (text, vae) in
            [(&whole.join("text_encoder"), &whole.join("vae")), (&file, &file), (&encoder, &file)]
        {
            let builder = open(&part).text_encoder(text).and_then(|builder| builder.vae(vae));
            assert_eq!(drawn(builder.expect("the parts")), want, "{name}: {}", text.display());
        }
    }
}

#[test]
fn what_training_left_behind_is_a_notice() {
    let whole = model("tiny-sd15");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let file = write_single_file(&whole, scratch.path());
    let more = scratch.path().join("more.safetensors");
    let stray = ["epoch", "global_step", "lora_unet_x.lora_down.weight", "ema.shadow.weight", "note.weight"];
    edited(&file, &more, |_| true, &stray);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let builder = open(&more).on_notice(move |notice| ears.lock().expect("a lock").push(notice));
    assert_eq!(drawn(builder), drawn(open(&file)));
    let heard = heard.lock().expect("a lock");
    let names = heard.iter().find_map(|notice| match notice {
        Notice::TensorsLeftOver { names, .. } => Some(names.clone()),
        _ => None,
    });
    let mut stray = stray.map(String::from).to_vec();
    stray.sort();
    assert_eq!(names, Some(stray));

    // The same beside a UNet without a prefix; but what is under a network's prefix has to be its own.
    let alone = scratch.path().join("alone.safetensors");
    let unet = whole.join("unet/diffusion_pytorch_model.safetensors");
    edited(&unet, &alone, |_| true, &["global_step", "lora_unet_x.lora_down.weight"]);
    assert_eq!(drawn(open(&whole).unet(&alone).expect("the UNet")), drawn(open(&whole)));
    let strange = scratch.path().join("strange.safetensors");
    edited(&file, &strange, |_| true, &["model.diffusion_model.adapter.weight"]);
    let error = open(&strange).load(&device()).expect_err("strange").to_string();
    assert!(error.contains("adapter.weight"), "{error}");
}
