//! The `generate` example as its users drive it: right options, wrong options, bad files.
//!
//! `cargo test` builds the examples, so the program is there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use hypersd_testing::{fixture, relative_l2};
use tempfile::TempDir;

/// A command line that cannot be right.
const USAGE: i32 = 2;
/// Everything else.
const FAILURE: i32 = 1;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn model() -> String {
    fixtures().join("tiny-sd15").display().to_string()
}

fn lora() -> String {
    fixtures().join("tiny-sd15-lora.safetensors").display().to_string()
}

/// Runs the program in a folder of its own.
struct Run {
    folder: TempDir,
}

impl Run {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    fn generate(&self, arguments: &[&str]) -> Output {
        let test = std::env::current_exe().expect("this test"); // target/<profile>/deps/generate-…
        let target = test.ancestors().nth(2).expect("target/<profile>");
        let program = target.join("examples").join(format!("generate{}", std::env::consts::EXE_SUFFIX));
        Command::new(&program)
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn written(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Asserts that a run fails with a status, one message that holds all of `words`, and no file written.
fn refused(arguments: &[&str], status: i32, words: &[&str]) {
    let run = Run::new();
    let output = run.generate(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: no {word:?} in {message:?}");
    }
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    assert_eq!(run.written(), [] as [&str; 0], "{arguments:?}: nothing is left behind");
    assert!(output.stdout.is_empty(), "{arguments:?}: standard output stays empty");
}

/// As [`refused`], with the tiny model before the arguments.
fn refused_with_model(arguments: &[&str], status: i32, words: &[&str]) {
    let model = model();
    let arguments: Vec<&str> = ["--model", &model].into_iter().chain(arguments.iter().copied()).collect();
    refused(&arguments, status, words);
}

#[test]
fn one_step_with_the_lora_is_the_picture_of_diffusers() {
    let run = Run::new();
    let output = run.generate(&[
        "--model",
        &model(),
        "--lora",
        &lora(),
        "--scheduler",
        "tcd",
        "--steps",
        "1",
        "--eta",
        "1.0",
        "--seed",
        "0",
        "--output",
        "cat.png",
        "--latents-out",
        "cat.safetensors",
        "a photo of a cat sitting on a windowsill, golden hour",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(run.written(), ["cat.png", "cat.safetensors"]);

    let want = fixture(fixtures().join("pipelines/tcd-1-eta-1.0.safetensors"));
    let got = fixture(run.path("cat.safetensors"));
    assert_eq!(got.keys().collect::<Vec<_>>(), ["latents"]);
    assert_eq!(got["latents"].shape, want["latents"].shape);
    let error = relative_l2(&got["latents"].data, &want["latents"].data);
    assert!(error <= 2e-4, "latents: relative L2 error {error:.3e}");

    let image = hypersd::Image::open(run.path("cat.png")).expect("the picture");
    let pairs = image.rgb8().iter().zip(&want["pixels"].data);
    let beyond = pairs.filter(|&(&got, &want)| got.abs_diff(want as u8) > 2).count();
    assert!(beyond * 200 <= image.rgb8().len(), "{beyond} of {} bytes", image.rgb8().len());
}

#[test]
fn a_batch_is_numbered_and_a_weight_is_read() {
    let run = Run::new();
    let output = run.generate(&[
        "--model",
        &model(),
        "--lora",
        &format!("{}=0.5", lora()),
        "--steps",
        "1",
        "--batch",
        "2",
        "--width",
        "96",
        "--height",
        "64",
        "--output",
        "out.png",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(run.written(), ["out-0.png", "out-1.png"]);
    let image = hypersd::Image::open(run.path("out-1.png")).expect("the second picture");
    assert_eq!((image.width(), image.height()), (96, 64));
}

#[test]
fn numbers_that_cannot_be_right_are_usage_errors() {
    refused_with_model(&["--width", "100"], USAGE, &["width", "multiple of 8", "100"]);
    refused_with_model(&["--height", "0"], USAGE, &["height", "multiple of 8"]);
    refused_with_model(&["--steps", "0"], USAGE, &["0"]);
    refused_with_model(&["--steps", "1001"], USAGE, &["1000", "1001"]);
    refused_with_model(&["--scheduler", "tcd", "--steps", "51"], USAGE, &["50", "51"]);
    refused_with_model(&["--eta", "7"], USAGE, &["eta", "7"]);
    refused_with_model(&["--eta", "-0.5"], USAGE, &["eta", "-0.5"]);
    refused_with_model(&["--eta", "nan"], USAGE, &["eta"]);
    refused_with_model(&["--guidance", "inf"], USAGE, &["guidance"]);
    refused_with_model(&["--batch", "0"], USAGE, &["batch"]);
    refused_with_model(&["--timesteps", "999,1000", "--scheduler", "tcd"], USAGE, &["1000"]);
    refused_with_model(&["--timesteps", "999,499"], USAGE, &["ddim", "timesteps"]);
    refused_with_model(&["--timesteps", "5", "--steps", "1", "--scheduler", "lcm"], USAGE, &["--steps"]);
    refused_with_model(&["--scheduler", "plms"], USAGE, &["plms", "ddim", "tcd", "lcm", "euler", "dpmpp-2m"]);
    refused_with_model(&["--spacing", "wide"], USAGE, &["wide", "trailing"]);
    refused_with_model(&["--lora", "file.safetensors=much"], USAGE, &["much"]);
    refused_with_model(&["--output", "cat.jpg"], USAGE, &[".png"]);
    refused_with_model(&["--seed", "-1"], USAGE, &["seed"]);
    refused(&["a photo of a cat"], USAGE, &["--model"]);
    refused_with_model(&["--device", "vulkan"], USAGE, &["vulkan", "--features vulkan"]);
}

#[test]
fn files_that_are_not_there_are_failures() {
    refused(&["--model", "no-such-folder"], FAILURE, &["no-such-folder"]);
    refused(&["--model", "."], FAILURE, &["model_index.json"]);
    refused_with_model(&["--lora", "missing.safetensors"], FAILURE, &["missing.safetensors"]);
    refused_with_model(&["--vae", "missing"], FAILURE, &["missing"]);
    refused_with_model(&["--unet", "missing"], FAILURE, &["missing"]);
    refused_with_model(&["--output", "no/such/folder/cat.png"], FAILURE, &["no/such/folder"]);
    refused_with_model(&["--latents-out", "no/such/folder/x.safetensors"], FAILURE, &["no/such/folder"]);
}

#[test]
fn files_of_other_kinds_are_named_for_what_they_are() {
    let folder = TempDir::new().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    };
    let png = write("picture.safetensors", b"\x89PNG\r\n\x1a\n0000000000000000");
    refused_with_model(&["--lora", &png], FAILURE, &["picture.safetensors", "PNG"]);
    let truncated = write("short.safetensors", &fs::read(lora()).expect("the LoRA")[..100_000]);
    refused_with_model(&["--lora", &truncated], FAILURE, &["short.safetensors"]);
    let lying = write("lying.safetensors", &[u64::MAX.to_le_bytes().as_slice(), b"{}"].concat());
    refused_with_model(&["--lora", &lying], FAILURE, &["lying.safetensors"]);
    let pickle = write("model.ckpt", b"PK\x03\x04 archive/data.pkl");
    refused_with_model(&["--unet", &pickle], FAILURE, &["model.ckpt", "pickle"]);
    let vae =
        fs::read(fixtures().join("tiny-sd15/vae/diffusion_pytorch_model.safetensors")).expect("the VAE");
    let vae = write("vae.safetensors", &vae);
    refused_with_model(&["--unet", &vae], FAILURE, &["missing", "unused", "conv_in.weight"]);
    refused_with_model(&["--lora", &vae], FAILURE, &["LoRA"]);
}

#[test]
fn a_lora_with_numbers_that_are_not_finite_is_refused() {
    let mut bytes = fs::read(lora()).expect("the LoRA");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("nan.safetensors");
    fs::write(&path, bytes).expect("a file");
    refused_with_model(
        &["--lora", &path.display().to_string(), "--steps", "1"],
        FAILURE,
        &["nan.safetensors"],
    );
}
