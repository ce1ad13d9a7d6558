//! The `generate` example from a picture: right options, wrong options, damaged files.

#[path = "common/generate.rs"]
mod common;

use std::fs;

use common::{Run, USAGE, lora, model, refused, refused_with_model};
use hypersd::{Image, Provenance};
use hypersd_testing::{fixture, fixtures, relative_l2, weights};
use tempfile::TempDir;

/// The exit status of everything but a wrong command line.
const FAILURE: i32 = 1;

fn picture(name: &str) -> String {
    fixtures("").join("control").join(name).display().to_string()
}

/// Asserts that a run with the model makes the latents of a case in a folder.
fn assert_is(case: &str, arguments: &[&str]) -> Run {
    let model = model();
    let prompt = "a photo of a cat sitting on a windowsill, golden hour";
    let common = [prompt, "--model", &model, "--seed", "5", "--latents-out", "x.safetensors"];
    let run = Run::new();
    let output = run.generate(&[&common, arguments].concat());
    assert!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let want = fixture(fixtures("").join(format!("{case}.safetensors")));
    let got = fixture(run.path("x.safetensors"));
    assert_eq!(got["latents"].shape, want["latents"].shape, "{case}");
    let error = relative_l2(&got["latents"].data, &want["latents"].data);
    assert!(error <= 2e-4, "{case}: relative L2 error {error:.3e}");
    run
}

/// The same with the LoRA, of the cases without masks.
fn assert_is_case(name: &str, arguments: &[&str]) -> Run {
    assert_is(&format!("pipelines-start/{name}"), &[arguments, &["--lora", &lora()]].concat())
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
fn inpainting_is_diffusers_and_says_so() {
    let (photo, mask) = (picture("photo.png"), fixtures("").join("pipelines-inpaint/mask.png"));
    let mask = mask.display().to_string();
    let masked = ["--image", &photo, "--mask", &mask, "--scheduler", "ddim", "--spacing", "trailing"];
    let size = ["--width", "96", "--height", "64", "--strength", "0.8"];
    assert_is("pipelines-inpaint/sd15-blur", &[masked.as_slice(), &size, &["--mask-blur", "4"]].concat());
    let run =
        assert_is("pipelines-inpaint/sd15-crop", &[masked.as_slice(), &size, &["--mask-crop", "8"]].concat());
    let drawn = Image::open(run.path("hypersd.png")).expect("the picture");
    let want = fixture(fixtures("").join("pipelines-inpaint/sd15-crop.safetensors"));
    assert_eq!([1, drawn.height(), drawn.width(), 3], *want["pixels"].shape, "the photograph's own size");
    let beyond =
        drawn.rgb8().iter().zip(&want["pixels"].data).filter(|(got, want)| got.abs_diff(**want as u8) > 2);
    assert!(beyond.count() < drawn.rgb8().len() / 200);

    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    let start = made.start.expect("a start");
    let settings = start.mask.expect("a mask");
    assert_eq!((start.kind.as_str(), start.strength), ("masked", Some(0.8)));
    assert_eq!((settings.blur, settings.crop, settings.picture.len()), (0.0, Some(8), 10));
}

#[test]
fn a_control_of_inpainting_is_the_picture_without_what_is_masked() {
    let (photo, mask) = (picture("photo.png"), fixtures("").join("pipelines-inpaint/mask.png"));
    let (mask, net) =
        (mask.display().to_string(), weights("").join("tiny-controlnet-sd15").display().to_string());
    let masked = ["--image", &photo, "--mask", &mask, "--scheduler", "ddim", "--spacing", "trailing"];
    let size = ["--width", "96", "--height", "64", "--strength", "1"];
    let control = ["--controlnet", &net, "--control-image", "masked", "--control-scale", "0.8"];
    assert_is("pipelines-inpaint/sd15-masked-control", &[masked.as_slice(), &size, &control].concat());
    let unmasked = [&["--image", photo.as_str()], control.as_slice()].concat();
    refused_with_model(&unmasked, USAGE, &["masked control", "a start with a mask"]);
}

#[test]
fn an_extended_picture_is_larger_and_keeps_its_own() {
    let photo = picture("photo-square.png");
    let run = Run::new();
    let (model, lora) = (model(), lora());
    let with = ["--model", &model, "--lora", &lora, "--scheduler", "tcd", "--eta", "1", "--steps", "2"];
    let extend = ["--image", &photo, "--extend", "0,0,32,16", "--strength", "1"];
    let output = run.generate(&[with.as_slice(), &extend].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let drawn = Image::open(run.path("hypersd.png")).expect("the picture");
    assert_eq!((drawn.width(), drawn.height()), (160, 144));
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    assert_eq!(made.start.expect("a start").kind, "masked");
}

/// What the second drawing is, done by hand: the picture without it, enlarged, as a start with the same seed.
#[test]
fn hires_is_image_to_image_from_the_enlarged_picture() {
    let run = Run::new();
    let (model, lora) = (model(), lora());
    let with = [
        "--model",
        &model,
        "--lora",
        &lora,
        "--scheduler",
        "tcd",
        "--eta",
        "0.3",
        "--seed",
        "9",
        "--batch",
        "2",
    ];
    let size = ["--width", "96", "--height", "72", "--steps", "2"];
    let generate = |more: &[&str]| {
        let output = run.generate(&[with.as_slice(), more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let hires = ["--hires", "1.4", "--hires-strength", "0.7", "--hires-steps", "3", "--output", "twice.png"];
    generate(&[size.as_slice(), &hires].concat());
    generate(&[size.as_slice(), &["--output", "first.png"]].concat());
    // ⌊1.4 · 96/8⌋ · 8 by ⌊1.4 · 72/8⌋ · 8
    let enlarged =
        ["--width", "128", "--height", "96", "--steps", "3", "--strength", "0.7", "--output", "by-hand.png"];
    generate(&[&["--image", "first-0.png", "--image", "first-1.png"], enlarged.as_slice()].concat());
    for k in ["0", "1"] {
        let [twice, by_hand] = ["twice", "by-hand"].map(|name| run.path(&format!("{name}-{k}.png")));
        assert_eq!(Image::open(&twice).expect("a picture"), Image::open(by_hand).expect("a picture"));
        let made = Provenance::read(twice).expect("a picture").expect("what it was made of");
        assert_eq!((made.width, made.height, made.timesteps.len(), made.start), (96, 72, 2, None));
        let hires = made.hires.expect("a second drawing");
        assert_eq!((hires.scale, hires.strength, hires.steps), (1.4, Some(0.7), Some(3)));
    }

    refused_with_model(&["--hires-strength", "0.5"], USAGE, &["--hires"]);
    refused_with_model(&["--hires", "0.01"], USAGE, &["hires", "8 to 16384"]);
    refused_with_model(&["--hires", "nan"], USAGE, &["hires", "8 to 16384"]);
    refused_with_model(&["--hires", "2", "--hires-strength", "1.2"], USAGE, &["strength", "at most 1"]);
    // Found out before the first is drawn.
    refused_with_model(&["--hires", "2", "--hires-steps", "1"], USAGE, &["1 with 1 steps", "2 steps with"]);
    refused(
        &["--hires", "2", "--hires-strength", "0.9", "--hires-steps", "20"],
        USAGE,
        &["hyper-sd15-unified"],
    );
}

#[test]
fn masks_that_cannot_be_right() {
    let photo = &picture("photo.png");
    refused_with_model(&["--mask", photo], USAGE, &["--image"]);
    refused_with_model(&["--extend", "1,2,3,4"], USAGE, &["--image"]);
    refused_with_model(&["--image", photo, "--mask", &model()], FAILURE, &["tiny-sd15"]);
    refused_with_model(&["--image", photo, "--mask", "nowhere.png"], FAILURE, &["nowhere.png"]);
    refused_with_model(
        &["--image", photo, "--mask-blur", "4"],
        USAGE,
        &["--mask-blur", "--mask or --extend"],
    );
    refused_with_model(
        &["--image", photo, "--mask-crop", "4"],
        USAGE,
        &["--mask-crop", "--mask or --extend"],
    );
    for blur in ["-1", "nan", "1e9"] {
        refused_with_model(
            &["--image", photo, "--mask", photo, "--mask-blur", blur],
            USAGE,
            &["mask blur", "pixels"],
        );
    }
    for sides in ["1,2,3", "1,2,3,-4", "a,b,c,d"] {
        refused_with_model(&["--image", photo, "--extend", sides], USAGE, &["--extend", "L,T,R,B"]);
    }
    refused_with_model(&["--image", photo, "--extend", "0,0,20000,0"], USAGE, &["16384"]);
    let change = ["--image", photo, "--image-guidance", "1.5"];
    refused_with_model(&change, FAILURE, &["not made to change"]);
    refused_with_model(&[&change[..], &["--strength", "0.5"]].concat(), USAGE, &["--strength"]);
    refused_with_model(&["--guidance-rescale", "2"], USAGE, &["guidance rescale", "0 to 1"]);
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
    // A strength below 1 leaves out the only step.
    refused(&["--image", photo, "--steps", "1"], USAGE, &["1 with 1 steps", "2 steps with", "noise level"]);
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
    refused_with_model(&["--image", &path("text.png")], FAILURE, &["text.png", "none of their signatures"]);
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
