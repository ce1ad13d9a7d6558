//! The `generate` example as its users drive it: right options, wrong options, bad files.

#[path = "common/generate.rs"]
mod common;

use std::fs;

use common::{Run, USAGE, lora, model, refused, refused_with_model};
use hypersd::{Image, Provenance, TextChunk};
use hypersd_testing::{fixture, fixtures, relative_l2, weights};
use tempfile::TempDir;

/// The exit status of everything but a wrong command line.
const FAILURE: i32 = 1;

/// The bytes of the latents that a run writes.
fn latents(options: &[&str]) -> Vec<u8> {
    let run = Run::new();
    let output = run.generate(&[options, &["--latents-out", "x.safetensors"]].concat());
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read(run.path("x.safetensors")).expect("the latents")
}

#[test]
fn without_options_the_demo_draws_in_one_step() {
    let run = Run::new();
    let output = run.generate(&[]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(run.written(), ["hypersd.png"]);
    let image = Image::open(run.path("hypersd.png")).expect("the picture");
    assert_eq!((image.width(), image.height()), (128, 128));

    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    assert_eq!(
        (made.prompt.as_str(), made.recipe.as_deref()),
        (hypersd_demo::PROMPT, Some("hyper-sd15-unified"))
    );
    assert_eq!((made.scheduler.as_str(), made.timesteps.len(), made.eta), ("tcd", 1, 1.0));
    let files: Vec<_> =
        made.weights.iter().map(|file| (file.part.as_str(), file.name.as_str(), file.weight)).collect();
    let want = [
        ("unet", "demo", None),
        ("vae", "demo", None),
        ("text_encoder", "demo", None),
        ("lora", "demo/hyper-lora", Some(1.0)),
    ];
    assert_eq!(files, want);
}

#[test]
fn the_demos_defaults_give_way_to_options() {
    const RECIPE: [&str; 6] = ["--model", "demo", "--lora", "demo", "--recipe", "hyper-sd15-unified"];
    let plain = latents(&[]);
    assert!(plain == latents(&RECIPE), "without options, as with these");
    // What does not say what to draw with leaves the LoRA and its recipe in place.
    let four = ["--steps", "4", "--eta", "0.3", "--seed", "7"];
    assert!(latents(&four) == latents(&[RECIPE.as_slice(), &four].concat()));
    refused(&["--steps", "20"], USAGE, &["hyper-sd15-unified", "1 to 8 steps", "found 20"]);
    // Anything that does takes them away.
    let base = latents(&["--model", "demo"]);
    assert!(base == latents(&["--guidance", "0"]) && base != plain);
    assert!(base == latents(&["--model", "demo", "--unet", "demo", "--vae", "demo"]));
    let weaker = ["--lora", "demo=0.7", "--scheduler", "tcd", "--eta", "1", "--steps", "1"];
    assert!(latents(&weaker) != plain);
    assert!(latents(&["--lora", "demo", "--scheduler", "tcd", "--eta", "1", "--steps", "1"]) == plain);
}

#[test]
fn the_demos_controlnet_follows_a_photograph() {
    let photo = fixtures("").join("control/photo.png").display().to_string();
    let run = Run::new();
    let output = run.generate(&["--controlnet", "demo", "--control-image", &photo, "--canny", "100,200"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("what it was made of");
    let names: Vec<_> = made.weights.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["demo", "demo", "demo", "demo/controlnet", "demo/hyper-lora"]);
}

#[test]
fn a_path_that_is_called_demo_is_written_as_one() {
    refused(&["--model", "./demo"], FAILURE, &["./demo"]);
    refused(&["--lora", "./demo=0.5"], FAILURE, &["./demo"]);
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

    let want = fixture(fixtures("").join("pipelines/tcd-1-eta-1.0.safetensors"));
    let got = fixture(run.path("cat.safetensors"));
    assert_eq!(got.keys().collect::<Vec<_>>(), ["latents"]);
    assert_eq!(got["latents"].shape, want["latents"].shape);
    let error = relative_l2(&got["latents"].data, &want["latents"].data);
    assert!(error <= 2e-4, "latents: relative L2 error {error:.3e}");

    let image = Image::open(run.path("cat.png")).expect("the picture");
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
    let image = Image::open(run.path("out-1.png")).expect("the second picture");
    assert_eq!((image.width(), image.height()), (96, 64));
}

#[test]
fn verbose_accounts_for_every_lora() {
    let run = Run::new();
    let lora = lora();
    let arguments = ["--model", &model(), "--lora", &lora, "--steps", "1", "--width", "64", "--height", "96"];
    let quiet = run.generate(&arguments);
    assert!(!String::from_utf8_lossy(&quiet.stderr).contains("applied"));
    let verbose = run.generate(&[arguments.as_slice(), &["--verbose"]].concat());
    let said = String::from_utf8_lossy(&verbose.stderr);
    assert!(said.contains(&format!("{lora}: 278 of 278 modules applied")), "{said}");
    assert!(said.contains("unet x 1: 278 LoRA, rank 2, alpha 1/2/8"), "{said}");
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
    refused_with_model(&["--timesteps", "999,499"], USAGE, &["pndm", "timesteps"]); // the model's own
    refused_with_model(&["--timesteps", "5", "--steps", "2", "--scheduler", "lcm"], USAGE, &["--steps"]);
    refused_with_model(
        &["--scheduler", "plms"],
        USAGE,
        &["plms", "ddim", "tcd", "lcm", "euler", "dpmpp-2m", "unipc"],
    );
    refused_with_model(&["--spacing", "wide"], USAGE, &["wide", "trailing"]);
    refused_with_model(&["--lora", "file.safetensors=much"], USAGE, &["much"]);
    refused_with_model(&["--output", "cat.jpg"], USAGE, &[".png"]);
    refused_with_model(&["--seed", "-2"], USAGE, &["seed"]);
    refused_with_model(&["--device", "vulkan"], USAGE, &["vulkan", "--features vulkan"]);
    refused_with_model(&["--device", "cuda:1"], USAGE, &["cuda", "--features cuda"]);
    refused_with_model(&["--device", "gpu"], USAGE, &["\"gpu\"", "cpu, cuda, vulkan, metal, wgpu"]);
    refused_with_model(&["--device", "cpu:1"], FAILURE, &["cpu:1", "this machine has 1 of that kind"]);
}

#[test]
fn controls_must_come_in_equal_numbers() {
    let net = weights("").join("tiny-controlnet-sd15").display().to_string();
    let image = fixtures("").join("control/edges.png").display().to_string();
    let with = |more: &[&str], words: &[&str]| {
        let arguments: Vec<&str> = ["--controlnet", &net].into_iter().chain(more.iter().copied()).collect();
        refused_with_model(&arguments, USAGE, words);
    };
    with(&[], &["--control-image", "1", "0"]);
    with(&["--control-image", &image, "--control-image", &image], &["--control-image", "2"]);
    with(
        &["--control-image", &image, "--control-scale", "1", "--control-scale", "2"],
        &["--control-scale", "2"],
    );
    with(&["--control-image", &image, "--control-start", "0.8", "--control-end", "0.2"], &["start"]);
    with(&["--control-image", &image, "--control-scale", "nan"], &["scale"]);
    with(&["--control-image", &image, "--canny", "100"], &["LOW,HIGH"]);
    refused_with_model(&["--control-image", &image], USAGE, &["--control-image", "0"]);
}

#[test]
fn a_controlnet_of_the_other_family_is_refused() {
    let net = weights("").join("tiny-controlnet-sdxl").display().to_string();
    let image = fixtures("").join("control/edges.png").display().to_string();
    refused_with_model(
        &["--controlnet", &net, "--control-image", &image],
        FAILURE,
        &["does not fit the UNet"],
    );
}

#[test]
fn a_photograph_guides_by_its_edges_in_its_own_size() {
    let run = Run::new();
    let net = weights("").join("tiny-controlnet-sd15").display().to_string();
    let photo = fixtures("").join("control/photo.png").display().to_string();
    let output = run.generate(&[
        "--model",
        &model(),
        "--controlnet",
        &net,
        "--control-image",
        &photo,
        "--canny",
        "100,200",
        "--steps",
        "1",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image = Image::open(run.path("hypersd.png")).expect("the picture");
    assert_eq!((image.width(), image.height()), (144, 96)); // of 150x102
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
    let pickle = write("model.ckpt", b"PK\x03\x04\0\0\x08\x08\0\0 archive/data.pkl");
    refused_with_model(&["--unet", &pickle], FAILURE, &["model.ckpt", "PyTorch checkpoint", "damaged"]);
    let asks = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/hypersd-core/tests/fixtures/files/asks.pt");
    refused_with_model(&["--unet", asks], FAILURE, &["asks.pt", "`__builtin__.eval`"]);
    let vae =
        fs::read(weights("").join("tiny-sd15/vae/diffusion_pytorch_model.safetensors")).expect("the VAE");
    let vae = write("vae.safetensors", &vae);
    refused_with_model(&["--unet", &vae], FAILURE, &["vae.safetensors", "no UNet"]);
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

#[test]
fn pictures_say_what_they_were_made_of_unless_told_not_to() {
    let run = Run::new();
    let arguments = |output| {
        let lora = format!("{}=0.5", lora());
        let words =
            "--model MODEL --scheduler tcd --eta 1 --steps 2 --seed 7 --width 64 --height 64 --batch 2";
        let mut arguments: Vec<String> =
            words.split(' ').map(|word| word.replace("MODEL", &model())).collect();
        arguments.extend(["--lora", &lora, "--output", output, "a cat, 猫"].map(String::from));
        arguments
    };
    let generate = |arguments: Vec<String>| {
        let output = run.generate(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    generate(arguments("with.png"));
    let mut without = arguments("without.png");
    without.push("--no-metadata".into());
    generate(without);

    for index in 0..2 {
        let path = run.path(&format!("with-{index}.png"));
        let made = Provenance::read(&path).expect("a picture").expect("what it was made of");
        assert_eq!((made.prompt.as_str(), made.seed, made.index, made.batch), ("a cat, 猫", 7, index, 2));
        assert_eq!((made.width, made.height, made.timesteps.len()), (64, 64, 2));
        assert_eq!(made.weights.len(), 4);
        let chunks = TextChunk::read(&path).expect("text");
        let parameters = chunks.iter().find(|chunk| chunk.keyword == "parameters").expect("parameters");
        assert_eq!(parameters.text, made.parameters());

        let plain = run.path(&format!("without-{index}.png"));
        assert_eq!(TextChunk::read(&plain).expect("a picture"), []);
        assert_eq!(Image::open(&plain).expect("a picture"), Image::open(&path).expect("a picture"));
    }
}

#[cfg(not(feature = "hub"))]
#[test]
fn without_the_hub_its_names_say_which_feature_is_missing() {
    let output = Run::new().generate(&["--model", "someone/model", "a cat"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("feature `hub`"), "{message}");
}
