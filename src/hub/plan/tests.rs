use std::fs;

use tempfile::TempDir;

use super::*;

/// A repository in a folder; empty files unless said otherwise.
struct Folder {
    top: TempDir,
    names: Vec<String>,
}

impl Folder {
    fn new(names: &[&str]) -> Self {
        let mut folder = Self { top: tempfile::tempdir().expect("a temporary folder"), names: Vec::new() };
        for name in names {
            folder.write(name, "");
        }
        folder
    }

    fn write(&mut self, name: &str, text: &str) {
        let path = self.top.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
        self.names.push(name.to_string());
    }

    fn plan(&self, reference: &str, variant: &Variant) -> Result<Plan, Error> {
        Plan::new(self, &HubReference::parse(reference).expect("a reference"), variant)
    }

    fn files(&self, reference: &str, variant: &Variant) -> Vec<String> {
        let mut files = self.plan(reference, variant).expect("a plan").files;
        files.sort();
        files
    }
}

impl Files for Folder {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn get(&self, name: &str) -> Result<PathBuf, Error> {
        Ok(self.top.path().join(name))
    }
}

/// What the hub has for Stable Diffusion 1.5, shortened.
fn sd15() -> Folder {
    let mut folder = Folder::new(&[
        ".gitattributes",
        "README.md",
        "v1-5-pruned.safetensors",
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "unused/config.json",
        "unused/model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]);
    folder.write(
        "model_index.json",
        r#"{
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": [null, null],
            "requires_safety_checker": true,
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"]
        }"#,
    );
    folder
}

const SD15_SMALL: [&str; 9] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
];

#[test]
fn a_pipeline_is_what_its_index_lists_with_one_set_of_weights() {
    let sd15 = sd15();
    let cases = [
        (Variant::Default, ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors"]),
        (
            Variant::Named("fp16".into()),
            ["text_encoder/model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"],
        ),
    ];
    for (variant, weights) in cases {
        let mut want: Vec<&str> = SD15_SMALL.into_iter().chain(weights).collect();
        want.push("vae/diffusion_pytorch_model.safetensors"); // has no fp16
        want.sort_unstable();
        assert_eq!(sd15.files("a/b", &variant), want, "{variant:?}");
    }
    assert_eq!(sd15.plan("a/b", &Variant::Default).expect("a plan").target, Path::new(""));
}

#[test]
fn a_folder_or_a_file_of_a_repository_is_only_that() {
    let sd15 = sd15();
    let vae = sd15.plan("a/b/vae", &Variant::Default).expect("a plan");
    assert_eq!(vae.target, Path::new("vae"));
    assert_eq!(vae.files, ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]);
    let file = sd15.plan("a/b@main/v1-5-pruned.safetensors", &Variant::Default).expect("a plan");
    assert_eq!((file.target.as_path(), file.files.len()), (Path::new("v1-5-pruned.safetensors"), 1));
}

#[test]
fn shards_come_with_their_index() {
    let index = "diffusion_pytorch_model.safetensors.index.json";
    let mut folder = Folder::new(&["config.json", "one.safetensors", "two.safetensors", "three.safetensors"]);
    folder.write(
        index,
        r#"{"weight_map": {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}"#,
    );
    let want = ["config.json", index, "one.safetensors", "two.safetensors"];
    assert_eq!(folder.files("a/b", &Variant::Default), want);

    let mut hostile = Folder::new(&["config.json"]);
    hostile.write(index, r#"{"weight_map": {"a": "../../two.safetensors"}}"#);
    let error = hostile.plan("a/b", &Variant::Default).expect_err("outside").to_string();
    assert!(error.contains("../../two.safetensors"), "{error}");
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let error = |names: &[&str], reference: &str| {
        Folder::new(names).plan(reference, &Variant::Default).expect_err(reference).to_string()
    };
    let loras = ["README.md", "two-steps.safetensors", "one-step.safetensors"];
    let collection = error(&loras, "a/b");
    assert!(collection.contains("name one, as a/b/two-steps.safetensors, one-step"), "{collection}");
    let missing = error(&loras, "a/b/three.safetensors");
    assert!(missing.contains("a/b/three.safetensors") && missing.contains("one-step"), "{missing}");
    let other = error(&["config.json", "diffusion_pytorch_model.msgpack"], "a/b");
    assert!(
        other.contains("only diffusion_pytorch_model.msgpack") && other.contains("safetensors"),
        "{other}"
    );
    let pickle = Folder::new(&["config.json", "diffusion_pytorch_model.bin"]).plan("a/b", &Variant::Default);
    assert!(pickle.is_ok(), "read where there is nothing else");
    let variants = error(&["config.json", "model.fp16.safetensors", "model.bf16.safetensors"], "a/b");
    assert!(variants.contains("model.bf16.safetensors") && variants.contains("variant"), "{variants}");
    let empty = error(&[], "a/b");
    assert!(
        empty.contains("a/b") && empty.contains("only nothing") && empty.contains("safetensors"),
        "{empty}"
    );
}

#[test]
fn an_index_that_is_none_names_itself() {
    for text in ["", "[]", "{\"unet\": ", "\u{feff}"] {
        let mut folder = Folder::new(&[]);
        folder.write("model_index.json", text);
        let error = folder.plan("a/b", &Variant::Default).expect_err(text).to_string();
        assert!(error.contains("a/b/model_index.json"), "{text:?}: {error}");
    }
}
