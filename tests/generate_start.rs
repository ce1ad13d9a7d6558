//! The `generate` example from a picture: right options, wrong options, damaged files.

#[path = "common/generate.rs"]
mod common;

use std::fs;

use common::{Run, USAGE, lora, model, refused, refused_with_model};
use hypersd::{Image, Provenance};
use hypersd_testing::{fixture, fixtures, relative_l2};
use tempfile::TempDir;

/// The exit status of everything but a wrong command line.
const FAILURE: i32 = 1;

fn picture(name: &str) -> String {
    fixtures("").join("control").join(name).display().to_string()
}

fn assert_is_case(name: &str, arguments: &[&str]) -> Run {
    let (model, lora) = (model(), lora());
    let common = [
        "a photo of a cat sitting on a windowsill, golden hour",
        "--model",
        &model,
        "--lora",
        &lora,
        "--seed",
        "5",
        "--latents-out",
        "x.safetensors",
    ];
    let run = Run::new();
    let output = run.generate(&[&common, arguments].concat());
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let want = fixture(fixtures("").join(format!("pipelines-start/{name}.safetensors")));
    let got = fixture(run.path("x.safetensors"));
    assert_eq!(got["latents"].shape, want["latents"].shape, "{name}");
    let error = relative_l2(&got["latents"].data, &want["latents"].data);
    assert!(error <= 2e-4, "{name}: relative L2 error {error:.3e}");
    run
}

#[test]
fn image_to_image_is_diffusers_and_says_so() {
    let photo = picture("photo.png");
    let arguments = ["--image", &photo, "--scheduler", "ddim", "--spacing", "trailing", "--steps", "2"];
    // Without a size, the photograph's, rounded down.
    let run = assert_is_case("sd15-own-size", &[arguments.as_slice(), &["--strength", "0.5"]].concat());
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    let start = made.start.expect("a start");
    assert_eq!((start.kind.as_str(), start.strength, start.noise_level), ("picture", Some(0.5), None));
    assert_eq!(
        (start.steps, made.timesteps.as_slice(), start.pictures.len()),
        (Some(2), [499.0].as_slice(), 1)
    );
    assert_eq!((made.width, made.height), (144, 96));
}

#[test]
fn a_noise_level_takes_every_step() {
    let photo = picture("photo-square.png");
    let arguments =
        ["--image", &photo, "--scheduler", "tcd", "--eta", "1", "--width", "96", "--height", "64"];
    let arguments = [arguments.as_slice(), &["--steps", "1", "--noise-level", "0.6"]].concat();
    let run = assert_is_case("sd15-tcd-1-level-0.6", &arguments);
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    assert_eq!(made.start.expect("a start").noise_level, Some(0.6));
    assert_eq!(made.timesteps, [599.0]);
}

#[test]
fn a_picture_for_each_of_the_batch() {
    let (square, photo) = (picture("photo-square.png"), picture("photo.png"));
    let arguments =
        ["--scheduler", "tcd", "--eta", "0.3", "--strength", "0.8", "--width", "96", "--height", "64"];
    let images = ["--image", &square, "--image", &photo, "--batch", "2"];
    assert_is_case("sd15-batch-2-of-2", &[arguments.as_slice(), &images].concat());
}

#[test]
fn numbers_that_cannot_be_right() {
    let photo = &picture("photo.png");
    refused(&["--strength", "0.5"], USAGE, &["--image"]);
    refused(&["--noise-level", "0.5"], USAGE, &["--image"]);
    let both = ["--image", photo, "--strength", "0.5", "--noise-level", "0.5"];
    refused_with_model(&both, USAGE, &["--strength", "--noise-level"]);
    for x in ["0", "1.2", "-0.5", "nan"] {
        refused_with_model(&["--image", photo, "--strength", x], USAGE, &["strength", "above 0, at most 1"]);
        refused_with_model(
            &["--image", photo, "--noise-level", x],
            USAGE,
            &["noise level", "above 0, at most 1"],
        );
    }
    // The demo's recipe takes one step, which a strength below 1 leaves out.
    refused(&["--image", photo], USAGE, &["1 with 1 steps", "2 steps with", "noise level"]);
    refused_with_model(
        &["--image", photo, "--strength", "0.2"],
        USAGE,
        &["0.25 with 4 steps", "5 steps with"],
    );
    refused_with_model(
        &["--image", photo, "--image", photo],
        USAGE,
        &["start pictures", "batch of 1", "found 2"],
    );
}

#[test]
fn pictures_that_cannot_be_read() {
    refused_with_model(&["--image", "nowhere.png"], FAILURE, &["nowhere.png"]);
    refused_with_model(&["--image", &model()], FAILURE, &["tiny-sd15"]);
    let scratch = TempDir::new().expect("a temporary folder");
    let path = |name: &str| scratch.path().join(name).display().to_string();
    fs::write(path("text.png"), "no picture").expect("a file");
    refused_with_model(&["--image", &path("text.png")], FAILURE, &["text.png", "neither signature"]);
    let whole = fs::read(picture("photo.png")).expect("the picture");
    fs::write(path("half.png"), &whole[..whole.len() / 2]).expect("a file");
    refused_with_model(&["--image", &path("half.png")], FAILURE, &["half.png", "whole"]);
    let jpeg = fixtures("crates/hypersd-core").join("images/turned.jpg");
    let jpeg = fs::read(jpeg).expect("the picture");
    fs::write(path("half.jpg"), &jpeg[..jpeg.len() - 40]).expect("a file");
    refused_with_model(&["--image", &path("half.jpg")], FAILURE, &["half.jpg", "whole JPEG"]);
    let tiny = Image::from_rgb8(7, 64, vec![0; 3 * 7 * 64]).expect("a picture");
    tiny.save(path("tiny.png")).expect("a file");
    refused_with_model(&["--image", &path("tiny.png")], USAGE, &["7x64", "at least 8"]);
}
