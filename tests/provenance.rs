//! What pictures say of themselves: which files, which steps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hypersd::{Algorithm, Device, Pipeline, Request, Steps, WeightPart};
use hypersd_testing::weights;
use sha2::{Digest, Sha256};

fn model() -> PathBuf {
    weights("").join("tiny-sd15")
}

fn lora() -> PathBuf {
    weights("").join("tiny-sd15-lora.safetensors")
}

/// The first digits of the SHA-256 of bytes.
fn digits(bytes: &[u8], length: usize) -> String {
    format!("{:x}", Sha256::digest(bytes))[..length].to_string()
}

fn file_digits(name: &str) -> String {
    digits(&fs::read(weights("").join(name)).expect("a fixture"), 10)
}

#[test]
fn weight_files_are_known_by_their_hashes() {
    let builder = Pipeline::open(model()).expect("the model").lora(lora(), 0.5).expect("the LoRA");
    let files = builder.hash_weights().expect("the files").finish().expect("hashes");

    let bytes = fs::read(lora()).expect("the fixture");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let want = [
        (WeightPart::UNet, "tiny-sd15", file_digits("tiny-sd15/unet/diffusion_pytorch_model.safetensors")),
        (WeightPart::Vae, "tiny-sd15", file_digits("tiny-sd15/vae/diffusion_pytorch_model.safetensors")),
        (WeightPart::TextEncoder, "tiny-sd15", file_digits("tiny-sd15/text_encoder/model.safetensors")),
        (WeightPart::Lora, "tiny-sd15-lora", digits(&bytes, 10)),
    ];
    let found: Vec<_> = files.iter().map(|file| (file.part, &*file.name, file.sha256.clone())).collect();
    assert_eq!(found, want);
    assert_eq!(files[3].weight, Some(0.5));
    assert_eq!(files[3].tensors_sha256.as_deref(), Some(&*digits(&bytes[8 + header..], 12)));
    assert!(files[..3].iter().all(|file| file.weight.is_none() && file.tensors_sha256.is_none()));
}

#[test]
fn what_replaces_a_part_is_hashed_in_its_place() {
    let taesd = weights("").join("tiny-taesd");
    let builder = Pipeline::open(model()).expect("the model").vae(&taesd).expect("the VAE");
    let files = builder.hash_weights().expect("the files").finish().expect("hashes");
    let vaes: Vec<_> = files.iter().filter(|file| file.part == WeightPart::Vae).collect();
    assert_eq!(vaes.len(), 1);
    assert_eq!(vaes[0].name, "tiny-taesd");
    assert_eq!(vaes[0].sha256, file_digits("tiny-taesd/diffusion_pytorch_model.safetensors"));
}

#[test]
fn embedded_files_are_known_by_their_hashes() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/hypersd-demo");
    let of_file = |name: &str| digits(&fs::read(demo.join(name)).expect("a file of the crate"), 10);
    let builder = Pipeline::open(hypersd_demo::model())
        .and_then(|builder| builder.lora(hypersd_demo::hyper_lora(), 1.0))
        .and_then(|builder| builder.controlnet(hypersd_demo::controlnet()))
        .expect("the demo");
    let files = builder.hash_weights().expect("the files").finish().expect("hashes");
    let found: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.sha256.clone())).collect();
    let want = [
        ("demo", of_file("model/unet/diffusion_pytorch_model.safetensors")),
        ("demo", of_file("model/vae/diffusion_pytorch_model.safetensors")),
        ("demo", of_file("model/text_encoder/model.safetensors")),
        ("demo/controlnet", of_file("controlnet/diffusion_pytorch_model.safetensors")),
        ("demo/hyper-lora", of_file("hyper-lora.safetensors")),
    ];
    assert_eq!(found, want);
    assert!(files[4].tensors_sha256.is_some());
}

#[test]
fn a_model_in_the_hubs_cache_is_called_by_its_repository() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let snapshot = cache.path().join("models--someone--tiny/snapshots/0123");
    copy(&model(), &snapshot);
    let builder = Pipeline::open(&snapshot).expect("the model");
    let files = builder.hash_weights().expect("the files").finish().expect("hashes");
    assert!(files.iter().all(|file| file.name == "someone/tiny"), "{files:?}");
}

#[cfg(unix)]
#[test]
fn a_blob_of_the_hubs_cache_is_known_by_its_name() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let folder = cache.path().join("models--someone--vae");
    let snapshot = folder.join("snapshots/0123");
    copy(&weights("").join("tiny-taesd"), &snapshot);
    fs::create_dir(folder.join("blobs")).expect("a folder");
    let digest = "0123456789abcdef".repeat(4); // another than the contents', to see that they are not read
    let weights = snapshot.join("diffusion_pytorch_model.safetensors");
    fs::rename(&weights, folder.join("blobs").join(&digest)).expect("moved");
    std::os::unix::fs::symlink(Path::new("../../blobs").join(&digest), &weights).expect("linked");
    let builder = Pipeline::open(model()).expect("the model").vae(&snapshot).expect("the VAE");
    let files = builder.hash_weights().expect("the files").finish().expect("hashes");
    let vae = files.iter().find(|file| file.part == WeightPart::Vae).expect("the VAE");
    assert_eq!((vae.name.as_str(), vae.sha256.as_str()), ("someone/vae", "0123456789"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(drop).expect("copied") }
    }
}

#[test]
fn what_the_request_leaves_open_is_filled_in() {
    let pipeline = Pipeline::open(model()).expect("the model").load(&Device::flex()).expect("loaded");
    let request = Request { scheduler: Some(Algorithm::Tcd), steps: Steps::Count(2), ..Request::default() };
    let provenance = pipeline.provenance(&request).expect("a right request");
    assert_eq!((provenance.scheduler.as_str(), provenance.eta), ("tcd", 0.0));
    assert_eq!(provenance.timesteps, [999.0, 499.0], "TCD's own, as diffusers has them");
    let image = pipeline.generate(&request).expect("a picture").remove(0);
    assert_eq!((provenance.width, provenance.height), (image.width(), image.height()));
    let wrong = Request { batch: 0, ..request };
    assert!(pipeline.provenance(&wrong).expect_err("no pictures").is_request());
}
