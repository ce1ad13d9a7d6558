//! The `generate` example with a refiner and with a difference: right options and wrong ones.

#[path = "common/generate.rs"]
mod common;

use common::{Run, USAGE, lora, refused, refused_with_model};
use hypersd::{Provenance, WeightPart};
use hypersd_testing::{fixture, fixtures, relative_l2, weights};

fn path(name: &str) -> String {
    weights("").join(name).display().to_string()
}

#[test]
fn a_refiner_takes_over_and_the_picture_says_so() {
    let (model, refiner) = (path("tiny-sdxl"), path("tiny-sdxl-refiner"));
    let run = Run::new();
    let output = run.generate(&[
        "a photo of a cat sitting on a windowsill, golden hour",
        "--model",
        &model,
        "--refiner",
        &refiner,
        "--switch-at",
        "0.5",
        "--scheduler",
        "euler",
        "--steps",
        "8",
        "--guidance",
        "5",
        "--negative",
        "blurry, low quality",
        "--width",
        "96",
        "--height",
        "64",
        "--latents-out",
        "x.safetensors",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let want = fixture(fixtures("").join("pipelines-refiner/euler-0.5-cfg.safetensors"));
    let got = fixture(run.path("x.safetensors"));
    let error = relative_l2(&got["latents"].data, &want["latents"].data);
    assert!(error <= 2e-4, "relative L2 error {error:.3e}");
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    assert_eq!(made.refine.expect("a refiner").switch_at, Some(0.5));
    assert!(made.weights.iter().any(|file| file.part == WeightPart::Refiner));
    assert_eq!(made.timesteps.len(), 8);
}

#[test]
fn refiners_that_cannot_be_are_refused() {
    let refiner = path("tiny-sdxl-refiner");
    refused_with_model(&["--refiner", &refiner], 1, &["refiner", "Stable Diffusion 1.x is the model"]);
    refused_with_model(&["--switch-at", "0.8"], USAGE, &["--refiner"]);
    refused_with_model(&["--refiner", &refiner, "--switch-at", "1.2"], USAGE, &["switch at", "1.2"]);
    refused_with_model(&["--refiner", "nowhere"], 1, &["nowhere"]);
    let sdxl = path("tiny-sdxl");
    let few = ["--model", &sdxl, "--refiner", &refiner, "--spacing", "trailing", "--scheduler", "ddim"];
    refused(&few, USAGE, &["switch at", "timestep 200", "4 steps"]);
    refused(&["--model", &refiner], USAGE, &["start", "a picture", "noise"]);
}

#[test]
fn a_difference_has_a_weight() {
    let (model, unet) = (path("tiny-sdxl"), path("tiny-sdxl/unet"));
    let run = Run::new();
    let half = format!("{unet}=-0.5");
    let output = run.generate(&["--model", &model, "--difference", &half, "--width", "64", "--height", "64"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    let file = made.weights.into_iter().find(|file| file.part == WeightPart::Difference);
    assert_eq!(file.expect("the difference").weight, Some(-0.5));
    refused_with_model(&["--difference", &unet, "--lora", &lora()], 1, &["UNet", "Stable Diffusion XL"]);
}

#[test]
fn a_smaller_second_drawing_is_refused() {
    refused_with_model(
        &["--hires", "0.5", "--width", "64", "--height", "64"],
        USAGE,
        &["hires", "at least 1"],
    );
}
