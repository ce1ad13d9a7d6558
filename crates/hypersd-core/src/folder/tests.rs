use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
use serde::Deserialize;
use tempfile::{TempDir, tempdir};

use super::{Component, ModelFolder, Variant};
use crate::{Error, TensorSource};

const INDEX: &str = r#"{
  "_class_name": "StableDiffusionPipeline",
  "_diffusers_version": "0.42.1",
  "force_zeros_for_empty_prompt": true,
  "safety_checker": [null, null],
  "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"],
  "odd": "UNet2DConditionModel"
}"#;

/// A weight file that can be told from others by its one number.
fn write_weights(path: &Path, mark: f32) {
    let bytes = mark.to_le_bytes();
    let view = TensorView::new(Dtype::F32, vec![1], &bytes).unwrap();
    serialize_to_file([("mark", view)], None, path).unwrap();
}

fn write_index(path: &Path, shard: &str) {
    fs::write(path, format!(r#"{{"weight_map":{{"mark":"{shard}"}}}}"#)).unwrap();
}

/// A component with weight files of these names, the first marked 0, the second 1 and so on.
fn component(files: &[&str]) -> (TempDir, Component) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("config.json"), r#"{"_class_name":"AutoencoderKL","latent_channels":4}"#)
        .unwrap();
    for (mark, file) in files.iter().enumerate() {
        let path = folder.path().join(file);
        if file.ends_with(".json") {
            let shard = format!("shard-{mark}.safetensors");
            write_weights(&folder.path().join(&shard), mark as f32);
            write_index(&path, &shard);
        } else {
            write_weights(&path, mark as f32);
        }
    }
    let component = Component::open(folder.path()).unwrap();
    (folder, component)
}

fn mark(component: &Component, variant: &Variant) -> f32 {
    component.weights(variant).unwrap().tensor("mark").unwrap().to_f32()[0]
}

fn named(variant: &str) -> Variant {
    Variant::Named(variant.to_string())
}

#[test]
fn a_model_folder_lists_its_components() {
    #[derive(Deserialize)]
    struct Settings {
        force_zeros_for_empty_prompt: bool,
    }
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("model_index.json"), INDEX).unwrap();
    fs::create_dir(folder.path().join("unet")).unwrap();
    let model = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(model.class_name(), Some("StableDiffusionPipeline"));
    assert_eq!(model.location().as_path(), Some(folder.path()));
    assert!(model.config::<Settings>().unwrap().force_zeros_for_empty_prompt);

    let unet = model.component("unet").unwrap().unwrap();
    assert_eq!(unet.class_name(), Some("UNet2DConditionModel"));
    assert_eq!(unet.location().as_path(), Some(&*folder.path().join("unet")));
    assert!(model.component("safety_checker").unwrap().is_none());
    assert!(model.component("text_encoder_2").unwrap().is_none());
    // listed, but its folder is not there
    assert!(matches!(model.component("vae"), Err(Error::Io { origin, .. }) if origin.ends_with("vae")));
    let odd = model.component("odd").unwrap_err().to_string();
    assert!(odd.contains("field `odd`") && odd.contains("[library, class]"), "{odd}");
}

#[test]
fn a_path_that_is_no_model_says_what_is_there() {
    let folder = tempdir().unwrap();
    let message = |path: &Path| ModelFolder::open(path).unwrap_err().to_string();
    assert!(message(folder.path()).contains("model_index.json, found an empty folder"));
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(message(folder.path()).contains("found config.json"));
    assert!(message(&folder.path().join("config.json")).contains("found a file"));
    for i in 0..20 {
        fs::write(folder.path().join(format!("image-{i:02}.png")), "").unwrap();
    }
    assert!(message(folder.path()).contains("image-06.png and 13 more"), "{}", message(folder.path()));
    assert!(matches!(ModelFolder::open(folder.path().join("absent")), Err(Error::Io { .. })));
    fs::write(folder.path().join("model_index.json"), "[1, 2]").unwrap();
    assert!(message(folder.path()).contains("model_index.json: expected"));
}

#[test]
fn a_lone_component_knows_its_class_and_configuration() {
    #[derive(Deserialize, Debug)]
    struct Config {
        latent_channels: usize,
    }
    #[derive(Deserialize, Debug)]
    struct Other {
        #[expect(dead_code, reason = "only its absence matters")]
        sample_size: usize,
    }
    #[derive(Deserialize, Debug)]
    struct Nested {
        #[expect(dead_code, reason = "only its type matters")]
        latent_channels: Vec<usize>,
    }
    let (folder, component) = component(&[]);
    assert_eq!(component.class_name(), Some("AutoencoderKL"));
    assert_eq!(component.config::<Config>().unwrap().latent_channels, 4);
    let absent = component.config::<Other>().unwrap_err().to_string();
    assert!(absent.contains("config.json") && absent.contains("a field `sample_size`"), "{absent}");
    let wrong = component.config::<Nested>().unwrap_err().to_string();
    assert!(wrong.contains("config.json, field `latent_channels`") && wrong.contains("a list"), "{wrong}");

    fs::remove_file(folder.path().join("config.json")).unwrap();
    let none = component.config::<Config>().unwrap_err().to_string();
    assert!(none.contains("expected one of config.json, scheduler_config.json"), "{none}");
    fs::write(folder.path().join("scheduler_config.json"), r#"{"latent_channels": 16}"#).unwrap();
    assert_eq!(component.config::<Config>().unwrap().latent_channels, 16);
    fs::write(folder.path().join("scheduler_config.json"), r#"{"_class_name": 1}"#).unwrap();
    assert!(Component::open(folder.path()).unwrap_err().to_string().contains("field `_class_name`"));
    assert!(Component::open(folder.path().join("scheduler_config.json")).is_err());
}

#[test]
fn text_files_may_be_absent() {
    let (folder, component) = component(&[]);
    fs::write(folder.path().join("merges.txt"), "#version: 0.2\ni n\n").unwrap();
    fs::write(folder.path().join("vocab.json"), [0xff, 0xfe]).unwrap();
    assert_eq!(component.text("merges.txt").unwrap().unwrap(), "#version: 0.2\ni n\n");
    assert_eq!(component.text("absent.txt").unwrap(), None);
    assert!(
        matches!(component.text("vocab.json"), Err(Error::Io { origin, .. }) if origin.ends_with("vocab.json"))
    );
}

#[test]
fn exactly_one_of_several_files_is_read() {
    let (plain, half) = (Variant::Default, named("fp16"));
    // Files that are there, and the places of those that the plain and the fp16 request get.
    let cases: &[(&[&str], usize, usize)] = &[
        (&["diffusion_pytorch_model.safetensors"], 0, 0),
        (&["model.safetensors"], 0, 0),
        (&["model.fp16.safetensors"], 0, 0),
        (&["model.fp16.safetensors", "model.safetensors"], 1, 0),
        (&["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"], 0, 1),
        (&["diffusion_pytorch_model.safetensors.index.json"], 0, 0),
        (&["diffusion_pytorch_model.safetensors.index.fp16.json"], 0, 0),
        (&["model.safetensors.index.fp16.json", "model.safetensors.index.json"], 1, 0),
        (&["model.safetensors.index.json", "model.safetensors"], 1, 1),
        (&["model.safetensors", "model.non_ema.safetensors", "model.bf16.safetensors"], 0, 0),
    ];
    for (files, want_plain, want_half) in cases {
        let (_folder, component) = component(files);
        assert_eq!(mark(&component, &plain), *want_plain as f32, "plain of {files:?}");
        assert_eq!(mark(&component, &half), *want_half as f32, "fp16 of {files:?}");
        for (variant, want) in [(&plain, *want_plain), (&half, *want_half)] {
            let file = match files[want].ends_with(".json") {
                true => format!("shard-{want}.safetensors"),
                false => files[want].to_string(),
            };
            let [found] = &component.weight_files(variant).unwrap()[..] else { panic!("one file") };
            let want = component.location().join(&file);
            assert_eq!(found.as_path(), want.as_path(), "{variant:?} of {files:?}");
        }
    }
}

#[test]
fn variants_that_cannot_be_chosen_between_are_an_error() {
    let (_folder, component) = component(&["model.fp16.safetensors", "model.bf16.safetensors"]);
    let message = component.weights(&Variant::Default).err().unwrap().to_string();
    assert!(message.contains("bf16, fp16"), "{message}");
    assert_eq!(mark(&component, &named("bf16")), 1.0);
    let message = component.weights(&named("int8")).err().unwrap().to_string();
    assert!(message.contains("model.int8.safetensors") && message.contains("bf16, fp16"), "{message}");
    for hostile in ["", "..", "../fp16", "a/b", "fp16\0"] {
        let error = component.weights(&named(hostile)).err().unwrap();
        assert!(matches!(error, Error::Argument { argument: "variant", .. }), "{hostile:?}: {error}");
    }
}

#[test]
fn shards_without_their_index_are_not_taken_for_a_variant() {
    let (_folder, component) = component(&["model.fp16-00001-of-00002.safetensors"]);
    let message = component.weights(&Variant::Default).err().unwrap().to_string();
    assert!(message.contains("expected one of diffusion_pytorch_model.safetensors"), "{message}");
    assert!(message.contains("found config.json, model.fp16-00001-of-00002.safetensors"), "{message}");
}

#[test]
fn a_component_of_pickles_is_read_where_there_is_nothing_else() {
    let (folder, component) = component(&[]);
    let pickle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files/plain.pth");
    for (name, variant) in [
        ("pytorch_model.fp16.bin", Variant::Default),
        ("pytorch_model.bin", Variant::Default),
        ("diffusion_pytorch_model.bin", Variant::Default),
        ("diffusion_pytorch_model.fp16.bin", Variant::Named("fp16".into())),
    ] {
        fs::copy(&pickle, folder.path().join(name)).unwrap();
        let weights = component.weights(&variant).unwrap();
        assert!(weights.origin().ends_with(name), "{}", weights.origin());
        assert_eq!(weights.info("turned").unwrap().shape, [3, 2]);
    }
    fs::write(folder.path().join("diffusion_pytorch_model.bin"), b"PK\x03\x04\0\0\x08\x08\0\0").unwrap();
    let message = component.weights(&Variant::Default).err().unwrap().to_string();
    assert!(message.contains("diffusion_pytorch_model.bin") && message.contains("truncated"), "{message}");
}

proptest! {
    #[test]
    fn arbitrary_json_never_panics(index in "\\PC{0,60}", class in "\\PC{0,20}", name in "[a-z_.]{0,8}") {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("model_index.json"), &index).unwrap();
        if let Ok(model) = ModelFolder::open(folder.path()) {
            let _ = model.component(&name);
        }
        let entries: BTreeMap<_, _> = [(name.clone(), ["diffusers".to_string(), class])].into();
        fs::write(folder.path().join("model_index.json"), serde_json::to_string(&entries).unwrap()).unwrap();
        let model = ModelFolder::open(folder.path()).unwrap();
        let _ = model.component(&name).map(|component| component.map(|c| c.weights(&Variant::Default).err()));
    }
}
