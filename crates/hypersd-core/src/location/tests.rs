use std::{borrow::Cow, fs, io::ErrorKind};

use proptest::prelude::*;
use safetensors::{Dtype, serialize, tensor::TensorView};
use tempfile::{TempDir, tempdir};

use super::{Embedded, Location};
use crate::{Component, Error, HostData, ModelFolder, SafetensorsFile, TensorSource, Variant};

/// Room for a small file, at an address that suits every type.
#[repr(align(64))]
struct Aligned([u8; 512]);

/// The bytes for as long as the program runs, `shift` bytes after an aligned address.
fn leaked(bytes: &[u8], shift: usize) -> &'static [u8] {
    let space = Box::leak(Box::new(Aligned([0; 512])));
    let range = shift..shift + bytes.len();
    space.0[range.clone()].copy_from_slice(bytes);
    &space.0[range]
}

/// A weight file that can be told from others by its one number.
fn weights(mark: f32) -> Vec<u8> {
    let bytes = mark.to_le_bytes();
    serialize([("mark", TensorView::new(Dtype::F32, vec![1], &bytes).unwrap())], None).unwrap()
}

const INDEX: &[u8] =
    br#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"]}"#;

/// A model: a UNet in two variants, a VAE in shards, and a text encoder that is a pickle.
fn model() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("model_index.json", INDEX.to_vec()),
        ("unet/config.json", br#"{"_class_name": "UNet2DConditionModel", "sample_size": 16}"#.to_vec()),
        ("unet/diffusion_pytorch_model.fp16.safetensors", weights(16.0)),
        ("unet/diffusion_pytorch_model.safetensors", weights(32.0)),
        ("vae/config.json", br#"{"latent_channels": "four"}"#.to_vec()),
        (
            "vae/diffusion_pytorch_model.safetensors.index.json",
            br#"{"weight_map": {"mark": "one.safetensors"}}"#.to_vec(),
        ),
        ("vae/one.safetensors", weights(1.0)),
        ("text_encoder/pytorch_model.bin", b"PK\x03\x04 archive/data.pkl".to_vec()),
    ]
}

fn embedded(files: &[(&'static str, Vec<u8>)]) -> Location {
    let files: Vec<_> = files.iter().map(|(path, bytes)| (*path, leaked(bytes, 0))).collect();
    Embedded::new("demo", Vec::leak(files)).into()
}

fn on_disk(files: &[(&'static str, Vec<u8>)]) -> (TempDir, Location) {
    let folder = tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let location = Location::from(folder.path());
    (folder, location)
}

/// What the model at a location says, with the location itself left out.
fn said(root: &Location) -> Vec<String> {
    fn mark(component: &Component, variant: &Variant) -> Result<String, Error> {
        let files = component.weight_files(variant)?;
        let source = component.weights(variant)?;
        let files: Vec<_> = files.iter().map(ToString::to_string).collect();
        Ok(format!("{:?} from {} in {files:?}", source.tensor("mark")?.to_f32(), source.origin()))
    }
    let model = ModelFolder::open(root).unwrap();
    let mut said = vec![format!("{:?}", model.class_name())];
    for name in ["unet", "vae", "text_encoder"] {
        let component = model.component(name).unwrap().unwrap();
        said.push(format!("{:?}", component.config::<Sizes>().map_err(|error| error.to_string())));
        for variant in [Variant::Default, Variant::Named("fp16".into()), Variant::Named("../x".into())] {
            said.push(format!("{:?}", mark(&component, &variant).map_err(|error| error.to_string())));
        }
    }
    let here = |text: String| text.replace(&format!("{root}/"), "").replace(&format!("{root}: "), "");
    said.into_iter().map(here).collect()
}

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "shown by Debug")]
struct Sizes {
    sample_size: Option<usize>,
    latent_channels: Option<usize>,
}

#[test]
fn an_embedded_model_reads_as_it_does_from_disk() {
    let (_folder, disk) = on_disk(&model());
    let want = said(&disk);
    assert!(want[2].contains("[32.0]") && want[3].contains("[16.0]"), "{want:?}");
    assert!(want.iter().any(|text| text.contains("save_file")), "{want:?}");
    assert_eq!(said(&embedded(&model())), want);
}

#[test]
fn what_is_not_embedded_is_named() {
    let root = embedded(&model());
    let absent = root.join("unet/absent.json");
    let Err(Error::Io { path, source }) = absent.reader().map(drop) else { panic!("no such file") };
    assert_eq!((path.to_str(), source.kind()), (Some("demo: unet/absent.json"), ErrorKind::NotFound));

    let message = ModelFolder::open(root.join("unet")).unwrap_err().to_string();
    assert!(message.starts_with("demo: unet: expected a model folder with model_index.json"), "{message}");
    assert!(message.contains("found config.json, diffusion_pytorch_model.fp16.safetensors"), "{message}");
    let message = ModelFolder::open(root.join("model_index.json")).unwrap_err().to_string();
    assert!(message.contains("demo: model_index.json") && message.contains("found a file"), "{message}");
    let message = SafetensorsFile::open(root.join("unet")).unwrap_err().to_string();
    assert!(message.starts_with("demo: unet: expected a safetensors file, found a directory"), "{message}");
    assert!(matches!(Component::open(root.join("no")), Err(Error::Io { .. })));
    assert_eq!(Component::open(root.join("unet")).unwrap().text("merges.txt").unwrap(), None);

    let without: Vec<_> = model().into_iter().filter(|(path, _)| !path.starts_with("vae/one")).collect();
    let vae = Component::open(embedded(&without).join("vae")).unwrap();
    let message = vae.weights(&Variant::Default).err().unwrap().to_string();
    assert_eq!(message, "demo: vae/one.safetensors: no such file is embedded");
}

#[test]
fn names_lead_up_and_down_as_on_disk() {
    for root in [embedded(&model()), Location::from("some/folder")] {
        let file = root.join("unet/config.json");
        assert_eq!(file.file_name().as_deref(), Some("config.json"));
        let beside = file.with_file_name("x.json");
        assert_eq!(beside.to_string(), root.join("unet").join("x.json").to_string());
        assert_eq!(file.parent().unwrap().to_string(), root.join("unet").to_string());
        assert_eq!(root.join("x").parent().unwrap().to_string(), root.to_string());
    }
    let root = embedded(&model());
    assert!(root.parent().is_none() && root.file_name().is_none() && root.is_dir());
    assert_eq!(root.names().unwrap(), ["model_index.json", "text_encoder", "unet", "vae"]);
    // The beginning of a name is no folder, and neither is one above the root.
    for name in ["une", "unet/", "unet/..", "..", "/", "unet/config.json/x"] {
        let there = root.join(name);
        assert!(!there.is_dir() && !there.is_file(), "{name}");
    }
    assert_eq!(Location::from("config.json").parent().unwrap().to_string(), ".");
    assert!(Location::from("/").parent().is_none());
}

#[test]
fn aligned_elements_are_borrowed_and_others_copied() {
    let halves = [0x00, 0x3c, 0x00, 0xc0]; // 1 and -2 in f16
    let views = [("x", TensorView::new(Dtype::F16, vec![2], &halves).unwrap())];
    let file = serialize(views, None).unwrap();
    for shift in 0..4 {
        let files: &'static _ = Box::leak(Box::new([("x.safetensors", leaked(&file, shift))]));
        let file = SafetensorsFile::open(Location::from(Embedded::new("demo", files)).join("x.safetensors"));
        let file = file.unwrap();
        let tensor = file.tensor("x").unwrap();
        let borrowed = matches!(&tensor.data, HostData::F16(Cow::Borrowed(_)));
        assert_eq!(borrowed, shift % 2 == 0, "{shift} bytes after an aligned address");
        assert_eq!(*tensor.to_f32(), [1.0, -2.0]);
        file.release("x");
        assert_eq!(*file.tensor("x").unwrap().to_f32(), [1.0, -2.0]);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), path in "[a-z/.]{0,12}") {
        let bytes = leaked(&bytes, 0);
        let files = Vec::leak(vec![
            ("model_index.json", bytes),
            ("unet/config.json", bytes),
            ("unet/model.safetensors", bytes),
            ("vae/model.safetensors.index.json", bytes),
        ]);
        let root = Location::from(Embedded::new("demo", files));
        let _ = ModelFolder::open(&root).map(|model| model.component("unet").err());
        for folder in ["unet", "vae", &path] {
            let Ok(component) = Component::open(root.join(folder)) else { continue };
            let _ = component.text(&path);
            prop_assert!(component.weights(&Variant::Default).is_err());
        }
    }
}
