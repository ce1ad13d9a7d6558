//! The `generate` example under what users run it under: streams that nobody reads, files that are not files, odd names
//! and numbers, options that contradict each other.

#[path = "common/generate.rs"]
mod common;

use std::{
    fs,
    io::pipe,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use common::{Run, USAGE, lora, model, refused, refused_with_model};
use hypersd::{Image, Provenance};
use hypersd_core::{HostTensor, SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::{fixtures, weights};

/// The exit status of everything but a wrong command line.
const FAILURE: i32 = 1;

/// A quick picture with a note: nothing is guided, so that there is nothing to steer away from.
const NOTED: [&str; 2] = ["--negative", "fog"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is said of a run that draws, line by line.
fn notes(arguments: &[&str]) -> Vec<String> {
    let output = Run::new().generate(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output).lines().map(String::from).collect()
}

/// A stream whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_picture_is_drawn_though_nobody_listens() {
    let run = Run::new();
    assert!(said(&run.generate(&NOTED)).contains("note: "), "there is something to say");
    let want = fs::read(run.path("hypersd.png")).expect("the picture");
    let run = Run::new();
    let status = run.command(&NOTED).stdout(closed()).stderr(closed()).status().expect("the program runs");
    assert_eq!(status.code(), Some(0));
    assert!(fs::read(run.path("hypersd.png")).expect("the picture") == want);
}

#[test]
fn an_error_nobody_hears_is_one() {
    for (arguments, want) in [(["--steps", "0"], USAGE), (["--model", "nothing-here"], FAILURE)] {
        let run = Run::new();
        let status = run.command(&arguments).stdout(closed()).stderr(closed()).status().expect("a run");
        assert_eq!(status.code(), Some(want), "{arguments:?}");
    }
}

#[test]
fn lists_end_quietly_where_nobody_reads_them() {
    for list in ["--list-recipes", "--list-devices", "--help", "--version"] {
        let run = Run::new();
        let output = run.command(&[list]).stdout(closed()).output().expect("the program runs");
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""), "{list}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_list_that_is_lost_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a disk that is full");
    let output = Run::new().command(&["--list-recipes"]).stdout(full).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(FAILURE));
    assert!(said(&output).starts_with("error: "), "{}", said(&output));
}

/// Refused, and long before a picture could have been drawn.
fn refused_at_once(arguments: &[&str], status: i32, words: &[&str]) {
    let start = Instant::now();
    refused(arguments, status, words);
    assert!(start.elapsed() < Duration::from_secs(10), "{arguments:?}: {:?}", start.elapsed());
}

#[test]
fn what_no_machine_could_draw_is_refused_at_once() {
    for batch in ["1000000000", "100000", "1025", "18446744073709551615", "99999999999999999999"] {
        refused_at_once(&["--batch", batch], USAGE, &["batch", batch]);
    }
    refused_at_once(&["--width", "18446744073709551608"], USAGE, &["width", "16384"]);
    refused_at_once(&["--height", "16392"], USAGE, &["height", "16384", "16392"]);
}

/// The program with so many kilobytes of address space.
#[cfg(unix)]
fn limited(run: &Run, kilobytes: u64, arguments: &[&str]) -> Output {
    let command = run.command(arguments);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(arguments).current_dir(run.path("")).output().expect("a shell")
}

#[cfg(unix)]
#[test]
fn memory_is_weighed_before_it_is_asked_for() {
    let large = ["--width", "8192", "--height", "8192"];
    let run = Run::new();
    let output = limited(&run, 16 << 20, &large);
    assert_eq!(output.status.code(), Some(FAILURE), "{}", said(&output));
    for word in ["GB of memory", "are to be had", "with a tiled VAE", "smaller picture"] {
        assert!(said(&output).contains(word), "{word}: {}", said(&output));
    }
    // Too little for anything is an error, too, never a signal.
    for kilobytes in [64 << 10, 100 << 10, 180 << 10] {
        let output = limited(&run, kilobytes, &[]);
        assert_eq!(output.status.code(), Some(FAILURE), "{kilobytes}: {}", said(&output));
    }
    assert_eq!(run.written(), [""; 0], "nothing is half-written");
}

#[test]
fn more_threads_than_cores_are_not_started() {
    let run = Run::new();
    let output = run.command(&[]).env("RAYON_NUM_THREADS", "1024").output().expect("the program runs");
    assert!(output.status.success(), "{}", said(&output));
    let cores = std::thread::available_parallelism().expect("cores");
    if cores.get() < 1024 {
        let want = format!("using {cores} threads");
        assert!(said(&output).contains(&want) && said(&output).contains("1024"), "{}", said(&output));
    }
    let one = Run::new();
    let output = one.command(&[]).env("RAYON_NUM_THREADS", "1").output().expect("the program runs");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    let picture = |run: &Run| fs::read(run.path("hypersd.png")).expect("the picture");
    assert!(picture(&one) == picture(&run), "threads are not in a picture");
}

#[test]
fn outputs_that_cannot_be_written_are_found_before_the_work() {
    let long = format!("{}.png", "n".repeat(300));
    refused(&["--output", &long], FAILURE, &["nnn"]);
    refused(&["--latents-out", "."], FAILURE, &["expected a file to write, found a folder"]);
    #[cfg(target_os = "linux")]
    for arguments in [["--output", "/proc/cat.png"], ["--latents-out", "/proc/cat"]] {
        // Before the model is opened: it is not there.
        let arguments = [arguments.as_slice(), &["--model", "nothing-here"]].concat();
        refused(&arguments, FAILURE, &["the folder /proc cannot be written to"]);
    }
    for arguments in [
        ["--latents-out", "./hypersd.png", "--batch", "1"],
        ["--latents-out", "hypersd-1.png", "--batch", "2"],
        ["--latents-out", "cat.PNG", "--output", "cat.PNG"],
    ] {
        refused(&arguments, USAGE, &["--latents-out", "a file of its own", arguments[1]]);
    }
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_lets_it() {
    let run = Run::new();
    let name = format!("{}.png", "n".repeat(251));
    let output = run.generate(&["--output", &name]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(run.written(), [name]);
}

#[cfg(unix)]
mod unix {
    use std::{
        ffi::OsStr,
        os::unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
        process::Command,
    };

    use super::*;

    fn mkfifo(run: &Run, name: &str) {
        assert!(Command::new("mkfifo").arg(run.path(name)).status().expect("mkfifo").success());
    }

    #[test]
    fn links_are_followed_and_permissions_kept() {
        let run = Run::new();
        fs::create_dir(run.path("sub")).expect("a folder");
        fs::write(run.path("sub/private.png"), "before").expect("a file");
        fs::set_permissions(run.path("sub/private.png"), fs::Permissions::from_mode(0o640)).expect("a mode");
        symlink("sub/private.png", run.path("link.png")).expect("a link");
        let output = run.generate(&["--output", "link.png"]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(run.path("link.png").is_symlink());
        Image::open(run.path("sub/private.png")).expect("the picture");
        let mode = fs::metadata(run.path("sub/private.png")).expect("the picture").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        // Two names of one file are one file.
        let output = run.generate(&["--output", "link.png", "--latents-out", "sub/private.png"]);
        assert_eq!(output.status.code(), Some(USAGE));
    }

    #[test]
    fn pipes_and_devices_are_written_to() {
        let run = Run::new();
        mkfifo(&run, "cat");
        let pipe = run.path("cat");
        let reader = std::thread::spawn(move || fs::read(pipe).expect("the picture"));
        let output = run.generate(&["--output", "cat", "--latents-out", "/dev/null"]);
        assert!(output.status.success(), "{}", said(&output));
        Image::from_bytes(reader.join().expect("the reader")).expect("the picture");
        assert_eq!(run.written(), ["cat"]);
        assert!(!fs::metadata("/dev/null").expect("the device").is_file());
    }

    #[test]
    fn paths_need_not_be_unicode() {
        let run = Run::new();
        let odd =
            |name: &str| OsStr::from_bytes(&[b"\xff-".as_slice(), name.as_bytes()].concat()).to_os_string();
        let folder = run.path(".");
        fs::copy(lora(), folder.join(odd("lora.safetensors"))).expect("a LoRA");
        fs::copy(fixtures("").join("control/photo.png"), folder.join(odd("photo.png")))
            .expect("a photograph");
        symlink(model(), folder.join(odd("model"))).expect("a link");
        let mut weighted = odd("lora.safetensors");
        weighted.push("=0.5");
        let output = run
            .command(&["--steps", "2", "--width", "64", "--height", "64", "--batch", "2"])
            .arg("--model")
            .arg(odd("model"))
            .arg("--lora")
            .arg(weighted)
            .arg("--image")
            .arg(odd("photo.png"))
            .arg("--output")
            .arg(odd("cat.png"))
            .arg("--latents-out")
            .arg(odd("x.safetensors"))
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", said(&output));
        for name in ["cat-0.png", "cat-1.png", "x.safetensors"] {
            assert!(folder.join(odd(name)).is_file(), "{name}");
        }
        let made = Provenance::read(folder.join(odd("cat-0.png"))).expect("a picture").expect("an account");
        assert!(made.weights.iter().any(|file| file.weight == Some(0.5)));
    }
}

#[test]
fn a_seed_that_is_drawn_is_said_and_draws_the_same_again() {
    let draw = |seed: &str| {
        let run = Run::new();
        let output = run.generate(&["--seed", seed]);
        assert!(output.status.success(), "{}", said(&output));
        let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("an account");
        (said(&output), made.seed, fs::read(run.path("hypersd.png")).expect("the picture"))
    };
    let (note, seed, picture) = draw("-1");
    assert_eq!(note, format!("note: the seed is {seed}\n"));
    let (note, again, same) = draw(&seed.to_string());
    assert_eq!((note.as_str(), again), ("", seed));
    assert!(same == picture);
    assert_ne!(draw("-1").1, seed, "one in four thousand million");
}

#[test]
fn numbers_say_what_they_expected() {
    for (option, words) in [
        ("--steps", ["a whole number of steps", "4.5"]),
        ("--original-steps", ["a whole number of steps", "4.5"]),
        ("--timestep-shift", ["a timestep, a whole number", "4.5"]),
        ("--width", ["a whole number of pixels, a multiple of 8", "4.5"]),
        ("--height", ["a whole number of pixels, a multiple of 8", "4.5"]),
        ("--batch", ["a whole number of pictures", "4.5"]),
        ("--clip-skip", ["a whole number of layers", "4.5"]),
        ("--mask-crop", ["a whole number of pixels", "4.5"]),
        ("--timesteps", ["whole numbers with commas", "4.5"]),
        ("--seed", ["a whole number from 0 to 18446744073709551615, or -1", "4.5"]),
    ] {
        refused_with_model(&[option, "4.5"], USAGE, &words);
        refused_with_model(&[option, "-2"], USAGE, &[words[0], "-2"]);
    }
    refused_with_model(&["--hires", "2", "--hires-steps", "x"], USAGE, &["a whole number of steps"]);
    refused_with_model(&["--seed", "18446744073709551616"], USAGE, &["or -1 to have one drawn"]);
}

#[test]
fn a_negative_prompt_may_begin_with_a_hyphen() {
    let run = Run::new();
    let output = run.generate(&["--negative", "-blurry", "--guidance", "2", "--steps", "1"]);
    assert!(output.status.success(), "{}", said(&output));
    let made = Provenance::read(run.path("hypersd.png")).expect("a picture").expect("an account");
    assert_eq!(made.negative.as_deref(), Some("-blurry"));
    refused(&["--negative", "--steps", "2"], USAGE, &["--negative", "expected text, found an option"]);
}

#[test]
fn options_without_effect_are_told_once_each() {
    for (arguments, want) in [
        (&["--negative", "fog"][..], "--negative has no effect at guidance 0, only above 1"),
        (&["--guidance", "1", "--negative", "fog"], "--negative has no effect at guidance 1, only above 1"),
        (&["--guidance-rescale", "0.5"], "--guidance-rescale has no effect at guidance 0, only above 1"),
        (&["--scheduler", "euler", "--eta", "0.5"], "--eta has no effect with the scheduler euler"),
        (
            &["--scheduler", "tcd", "--spacing", "trailing"],
            "--spacing has no effect with the scheduler tcd, which has timesteps of its own",
        ),
        (
            &["--scheduler", "lcm", "--spacing", "trailing"],
            "--spacing has no effect with the scheduler lcm, which has timesteps of its own",
        ),
        (&["--canny", "100,200"], "--canny has no effect without a --controlnet"),
        (&["--control-start", "0.5"], "--control-start has no effect without a --controlnet"),
        (&["--control-end", "0.5"], "--control-end has no effect without a --controlnet"),
    ] {
        let draws = match arguments.contains(&"--scheduler") || arguments.contains(&"--guidance") {
            true => ["--steps", "2"].as_slice(),
            false => &[],
        };
        assert_eq!(notes(&[arguments, draws].concat()), [format!("note: {want}")], "{arguments:?}");
    }
    for arguments in [
        &["--scheduler", "euler", "--eta", "0"][..], // as it is
        &["--scheduler", "ddim", "--eta", "0.5", "--spacing", "trailing"],
        &["--scheduler", "euler", "--timesteps", "999,499", "--spacing", "leading"], // tells in the first noise
        &["--guidance", "2", "--guidance-rescale", "0.5", "--negative", "fog"],
    ] {
        assert_eq!(notes(&[arguments, &["--steps", "2"]].concat()), [] as [&str; 0], "{arguments:?}");
    }
}

/// A copy of a weight file with more tensors in it.
fn with_more(run: &Run, file: &str, name: &str, more: &[(&str, HostTensor<'static>)]) -> String {
    let own = SafetensorsFile::open(weights("").join(file)).expect("the file");
    let mut tensors: Vec<_> =
        own.names().into_iter().map(|name| (name.clone(), own.tensor(&name).expect("a tensor"))).collect();
    tensors.extend(more.iter().map(|(name, x)| ((*name).to_string(), x.clone())));
    fs::create_dir_all(run.path(name).parent().expect("a folder")).expect("a folder");
    save_safetensors(run.path(name), tensors.iter().map(|(name, x)| (name.as_str(), x))).expect("written");
    run.path(name).display().to_string()
}

#[test]
fn what_a_model_has_no_place_for_is_refused_or_noted() {
    let inputs = Run::new();
    let x = |shape: &[usize]| HostTensor::from_f32(shape.to_vec(), vec![0.5; shape.iter().product()]);
    const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
    for part in ["unet", "vae"] {
        let name = format!("{part}/{WEIGHTS}");
        with_more(&inputs, &format!("tiny-sd15/{name}"), &name, &[("of.another.version", x(&[2]))]);
        let config = weights("").join(format!("tiny-sd15/{part}/config.json"));
        fs::copy(config, inputs.path(&format!("{part}/config.json"))).expect("a configuration");
    }
    let (unet, vae) = (inputs.path("unet").display().to_string(), inputs.path("vae").display().to_string());
    let more = [
        ("lora_unet_nowhere.lora_down.weight", x(&[2, 4])),
        ("lora_unet_nowhere.lora_up.weight", x(&[4, 2])),
    ];
    let lora_file = with_more(&inputs, "tiny-sd15-lora.safetensors", "lora.safetensors", &more);

    let (model, own_lora) = (model(), lora());
    let run = |parts: &[&str]| {
        let run = Run::new();
        let common = ["--model", &model, "--steps", "1", "--no-metadata"];
        let output = run.generate(&[&common, parts].concat());
        let picture = fs::read(run.path("hypersd.png")).ok();
        (output.status.code(), said(&output), picture)
    };
    let (_, _, want) = run(&["--lora", &own_lora]);
    for (option, file, word) in [
        ("--unet", &unet, "of.another.version"),
        ("--vae", &vae, "of.another.version"),
        ("--lora", &lora_file, "nowhere"),
    ] {
        let own = if option == "--lora" { [].as_slice() } else { &["--lora", &own_lora] };
        let (status, message, _) = run(&[own, &[option, file]].concat());
        assert!(status == Some(FAILURE) && message.contains(word), "{option}: {message}");
        for memory in [&[][..], &["--low-memory"]] {
            let (status, message, picture) = run(&[own, memory, &[option, file, "--lenient"]].concat());
            assert_eq!(status, Some(0), "{option}: {message}");
            assert!(
                message.starts_with("note: ") && message.matches(word).count() == 1,
                "{option}: {message}"
            );
            assert!(
                picture.is_some() && picture == want,
                "{option}: what is left over is not in the picture"
            );
        }
    }
    // What is missing stays an error.
    let (status, message, _) = run(&["--vae", &unet, "--lenient"]);
    assert!(status == Some(FAILURE), "{message}");
}
