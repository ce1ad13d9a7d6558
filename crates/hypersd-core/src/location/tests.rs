use std::{
    borrow::Cow,
    fs,
    io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom},
    sync::Arc,
};

use proptest::prelude::*;
use safetensors::{Dtype, serialize, tensor::TensorView};
use tempfile::{TempDir, tempdir};

use super::{FileTree, Location, SMALL};
use crate::{ByteSource, Component, Error, HostData, ModelFolder, SafetensorsFile, TensorSource, Variant};

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

type Files = Vec<(&'static str, Vec<u8>)>;

/// A model: a UNet in two variants, a VAE in shards, and a text encoder that is a damaged pickle.
fn model() -> Files {
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

/// Bytes that nobody sees but by reading.
struct Ranges(Vec<u8>);

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }
}

fn tree<B: ByteSource + 'static>(files: Files, bytes: impl Fn(Vec<u8>) -> B) -> Location {
    files.into_iter().fold(FileTree::new("demo"), |tree, (path, file)| tree.with(path, bytes(file))).into()
}

fn on_disk(files: Files) -> (TempDir, Location) {
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
fn a_model_in_a_tree_reads_as_it_does_from_disk() {
    let (_folder, disk) = on_disk(model());
    let want = said(&disk);
    assert!(want[2].contains("[32.0]") && want[3].contains("[16.0]"), "{want:?}");
    assert!(want.iter().any(|text| text.contains("truncated")), "{want:?}");
    assert_eq!(said(&tree(model(), |file| leaked(&file, 0))), want, "as long as the program");
    assert_eq!(said(&tree(model(), |file| file)), want, "owned");
    assert_eq!(said(&tree(model(), Arc::<[u8]>::from)), want, "shared");
    assert_eq!(said(&tree(model(), Ranges)), want, "by ranges");
}

#[test]
fn what_is_not_in_a_tree_is_named() {
    let root = tree(model(), Ranges);
    let absent = root.join("unet/absent.json");
    let Err(Error::Io { origin, source }) = absent.reader().map(drop) else { panic!("no such file") };
    assert_eq!((&*origin, source.kind()), ("demo: unet/absent.json", ErrorKind::NotFound));
    let Err(Error::Io { origin, source }) = root.join("unet").reader().map(drop) else { panic!("a folder") };
    assert_eq!((&*origin, source.kind()), ("demo: unet", ErrorKind::IsADirectory));

    let message = ModelFolder::open(root.join("unet")).unwrap_err().to_string();
    assert!(message.starts_with("demo: unet: expected a model folder with model_index.json"), "{message}");
    assert!(message.contains("found config.json, diffusion_pytorch_model.fp16.safetensors"), "{message}");
    let message = ModelFolder::open(root.join("model_index.json")).unwrap_err().to_string();
    assert!(message.contains("demo: model_index.json") && message.contains("found a file"), "{message}");
    let message = ModelFolder::open(FileTree::new("nothing")).unwrap_err().to_string();
    assert!(message.starts_with("nothing: expected") && message.ends_with("an empty folder"), "{message}");
    let message = SafetensorsFile::open(root.join("unet")).unwrap_err().to_string();
    assert!(message.starts_with("demo: unet: expected a safetensors file, found a directory"), "{message}");
    assert!(matches!(Component::open(root.join("no")), Err(Error::Io { .. })));
    assert_eq!(Component::open(root.join("unet")).unwrap().text("merges.txt").unwrap(), None);

    let without: Files = model().into_iter().filter(|(path, _)| !path.starts_with("vae/one")).collect();
    let vae = Component::open(tree(without, Ranges).join("vae")).unwrap();
    let message = vae.weights(&Variant::Default).err().unwrap().to_string();
    assert_eq!(message, "demo: vae/one.safetensors: no such file or folder");
}

#[test]
fn names_lead_up_and_down_as_on_disk() {
    for root in [tree(model(), Ranges), Location::from("some/folder")] {
        let file = root.join("unet/config.json");
        assert_eq!(file.file_name().as_deref(), Some("config.json"));
        let beside = file.with_file_name("x.json");
        assert_eq!(beside.to_string(), root.join("unet").join("x.json").to_string());
        assert_eq!(file.parent().unwrap().to_string(), root.join("unet").to_string());
        assert_eq!(root.join("x").parent().unwrap().to_string(), root.to_string());
    }
    let root = tree(model(), Ranges);
    assert!(root.parent().is_none() && root.file_name().is_none() && root.is_dir());
    assert_eq!(root.names().unwrap(), ["model_index.json", "text_encoder", "unet", "vae"]);
    // The beginning of a name is no folder, and neither is one above the root.
    for name in ["une", "unet/", "unet/..", "..", "/", "unet/config.json/x"] {
        assert!(!root.join(name).exists(), "{name}");
    }
    assert_eq!(Location::from("config.json").parent().unwrap().to_string(), ".");
    assert!(Location::from("/").parent().is_none());

    let replaced = FileTree::new("").with("a/b", b"old").with("a/b", b"new");
    assert_eq!(Location::from(replaced.clone()).join("a/b").read_small().unwrap(), b"new");
    assert_eq!(Location::from(replaced).to_string(), ".");
}

#[test]
fn a_file_alone_has_its_own_name() {
    let file = Location::of_bytes("mine.safetensors", weights(7.0));
    assert_eq!(
        (file.to_string(), file.file_name().as_deref()),
        ("mine.safetensors".into(), Some("mine.safetensors"))
    );
    let opened = SafetensorsFile::open(&file).unwrap();
    assert_eq!(opened.origin(), "mine.safetensors");
    assert_eq!(*opened.tensor("mark").unwrap().to_f32(), [7.0]);
    assert!(!file.with_file_name("config.json").exists());
    assert!(file.as_path().is_none() && file.real_path().is_none());
    assert_eq!(file.in_tree().unwrap().1, "mine.safetensors");
}

#[test]
fn aligned_elements_are_borrowed_and_others_copied() {
    let halves = [0x00, 0x3c, 0x00, 0xc0]; // 1 and -2 in f16
    let views = [("x", TensorView::new(Dtype::F16, vec![2], &halves).unwrap())];
    let file = serialize(views, None).unwrap();
    for shift in 0..4 {
        let file = SafetensorsFile::open(Location::of_bytes("x.safetensors", leaked(&file, shift))).unwrap();
        let tensor = file.tensor("x").unwrap();
        let borrowed = matches!(&tensor.data, HostData::F16(Cow::Borrowed(_)));
        assert_eq!(borrowed, shift % 2 == 0, "{shift} bytes after an aligned address");
        assert_eq!(*tensor.to_f32(), [1.0, -2.0]);
        file.release("x");
        assert_eq!(*file.tensor("x").unwrap().to_f32(), [1.0, -2.0]);
    }
}

/// A file of blanks that does not end, or fails in the middle.
struct Blanks {
    broken: u64,
    kind: ErrorKind,
}

impl ByteSource for Blanks {
    fn size(&self) -> u64 {
        u64::MAX
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if offset + into.len() as u64 > self.broken {
            return Err(self.kind.into());
        }
        into.fill(b' ');
        Ok(())
    }
}

#[test]
fn text_without_an_end_is_an_error() {
    let endless = |_: Vec<u8>| Blanks { broken: u64::MAX, kind: ErrorKind::Other };
    let root = tree(model(), endless);
    let message = ModelFolder::open(&root).unwrap_err().to_string();
    assert_eq!(
        message,
        format!("demo: model_index.json: expected at most {SMALL} bytes of text, found more")
    );
    assert!(matches!(Component::open(root.join("unet")), Err(Error::Format { .. })));
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
    let missing = |_: Vec<u8>| Blanks { broken: 100, kind: ErrorKind::NotFound };
    let component = Component::open(tree(vec![("a/merges.txt", vec![])], missing).join("a")).unwrap();
    let Err(Error::Io { origin, .. }) = component.text("merges.txt") else { panic!("it cannot be read") };
    assert_eq!(origin, "demo: a/merges.txt");
    assert_eq!(component.text("vocab.json").unwrap(), None);
}

fn any_seek() -> impl Strategy<Value = SeekFrom> {
    prop_oneof![
        (0_u64..30).prop_map(SeekFrom::Start),
        (-30_i64..30).prop_map(SeekFrom::Current),
        (-30_i64..30).prop_map(SeekFrom::End),
        prop::sample::select(vec![
            SeekFrom::Start(u64::MAX),
            SeekFrom::Current(i64::MAX),
            SeekFrom::End(i64::MIN)
        ]),
    ]
}

proptest! {
    #[test]
    fn readers_move_as_those_of_memory_do(
        bytes in prop::collection::vec(any::<u8>(), 0..20),
        moves in prop::collection::vec((any_seek(), 0_usize..9), 0..12),
    ) {
        let mut reader = Location::of_bytes("x", Ranges(bytes.clone())).reader().unwrap();
        let mut want = Cursor::new(bytes);
        for (seek, n) in moves {
            prop_assert_eq!(reader.seek(seek).ok(), want.seek(seek).ok());
            let (mut a, mut b) = ([0; 9], [0; 9]);
            prop_assert_eq!(reader.read(&mut a[..n]).unwrap(), want.read(&mut b[..n]).unwrap());
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), path in "[a-z/.]{0,12}") {
        let files = ["model_index.json", "unet/config.json", "unet/model.safetensors"];
        let mut tree = FileTree::new("demo").with("vae/model.safetensors.index.json", bytes.clone());
        for (file, bytes) in files.into_iter().chain([&*path]).zip(std::iter::repeat(&bytes)) {
            tree = tree.with(file, Ranges(bytes.clone()));
        }
        let root = Location::from(tree);
        let _ = ModelFolder::open(&root).map(|model| model.component("unet").err());
        for folder in ["unet", "vae", &path, ""] {
            let Ok(component) = Component::open(root.join(folder)) else { continue };
            let _ = component.text(&path);
            prop_assert!(component.weights(&Variant::Default).is_err());
        }
    }
}
