//! What pictures say of themselves: which files, which steps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hypersd::{
    Algorithm, Device, Error, Image, Pipeline, Provenance, Request, Steps, TextChunk, WeightFile, WeightPart,
};
use hypersd_testing::{fixtures, weights};
use serde_json::{Map, Value};
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
    let found: Vec<_> =
        files.iter().map(|file| (file.part.clone(), &*file.name, file.sha256.clone())).collect();
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

/// The text of a picture's chunk, as a version wrote it.
fn written(name: &str) -> String {
    fs::read_to_string(fixtures("").join("provenance").join(name)).expect("a fixture")
}

/// Reads a picture with this text.
fn read(text: &str) -> Result<Option<Provenance>, Error> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.png");
    let image = Image::from_rgb8(8, 8, vec![1; 192]).expect("an image");
    let text = TextChunk { keyword: "hypersd".into(), text: text.into() };
    image.save_with(&path, &[text]).expect("written");
    Provenance::read(&path)
}

fn fields(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("an object")
}

/// What this version says again of what it has read.
fn rewritten(provenance: &Provenance) -> Map<String, Value> {
    let chunks = provenance.text_chunks();
    fields(&chunks.iter().find(|chunk| chunk.keyword == "hypersd").expect("the JSON").text)
}

#[test]
fn every_field_of_0_1_0_is_read_and_still_written() {
    let text = written("0.1.0.json");
    let provenance = read(&text).expect("readable").expect("provenance");
    assert_eq!((provenance.version.as_str(), provenance.prompt.as_str()), ("hypersd 0.1.0", "a cat, 猫"));
    assert_eq!((provenance.seed, provenance.rng.as_str()), (u64::MAX, "torch-cpu"));
    assert_eq!([provenance.width, provenance.height, provenance.batch, provenance.index], [128, 64, 2, 1]);
    assert_eq!((provenance.scheduler.as_str(), provenance.karras), ("tcd", false));
    assert_eq!((provenance.timesteps.as_slice(), provenance.eta), ([999.0, 499.0].as_slice(), 0.3));
    assert_eq!((provenance.negative.as_ref(), provenance.recipe.as_ref()), (None, None));
    let mut lora = WeightFile::new(WeightPart::Lora, "demo/hyper-lora", "7efa8b92ea");
    lora.tensors_sha256 = Some("1e6511be1dbf".into());
    lora.weight = Some(0.5);
    assert_eq!((provenance.weights.len(), &provenance.weights[3]), (4, &lora));

    let again = rewritten(&provenance);
    for (field, value) in fields(&text) {
        assert_eq!(again.get(&field), Some(&value), "{field}");
    }
}

#[test]
fn what_a_newer_version_adds_is_passed_over_and_its_words_are_kept() {
    let newer = read(&written("newer.json")).expect("readable").expect("provenance");
    let known = read(&written("0.1.0.json")).expect("readable").expect("provenance");
    assert_eq!((newer.rng.as_str(), newer.scheduler.as_str()), ("philox", "restart"));
    assert_eq!(newer.weights[..4], known.weights);
    assert_eq!(newer.weights[4].part, WeightPart::Other("ip_adapter".into()));
    assert_eq!((newer.seed, &newer.timesteps), (known.seed, &known.timesteps));
    assert!(newer.parameters().contains("Sampler: restart, "), "{}", newer.parameters());
    assert_eq!(rewritten(&newer)["weights"][4]["part"], "ip_adapter");
}

#[test]
fn what_an_older_version_does_not_say_is_the_default_requests() {
    let older = read(&written("older.json")).expect("readable").expect("provenance");
    let request = Request::default();
    assert_eq!((older.batch, older.index, older.rng.as_str()), (request.batch, 0, "torch-cpu"));
    assert_eq!(
        (older.negative, older.guidance),
        (request.negative.map(|it| it.text().to_string()), request.guidance)
    );
    assert_eq!((older.eta, older.karras), (0.0, false));
    assert_eq!((older.recipe, older.weights), (None, Vec::new()));
}

#[test]
fn damaged_text_is_an_error_that_names_the_file_and_the_field() {
    let text = written("0.1.0.json");
    let text = text.trim_end();
    let damaged = |text: &str| match read(text) {
        Err(error @ Error::Config { .. }) => error.to_string(),
        other => panic!("{text}: {other:?}"),
    };
    for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)).step_by(7) {
        damaged(&text[..end]);
    }
    for field in ["version", "prompt", "seed", "width", "height", "scheduler", "timesteps"] {
        let mut fields = fields(text);
        fields.remove(field).expect("a field");
        let message = damaged(&Value::Object(fields).to_string());
        assert!(message.contains("x.png: hypersd: ") && message.contains(field), "{message}");
    }
    for wrong in ["", "null", "[]", "{}", "{\"prompt\": 3}", "\u{fffd}"] {
        damaged(wrong);
    }
    damaged(&text.replace("\"seed\":18446744073709551615", "\"seed\":-1"));
    damaged(&text.replace("\"part\":\"unet\"", "\"part\":7"));
}
