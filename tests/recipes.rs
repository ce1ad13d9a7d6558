//! Recipes as users of the `generate` example meet them: what `docs/recipes.md` shows is what happens.

#[path = "common/generate.rs"]
mod common;

use std::{fs, path::Path};

use common::{Run, USAGE, lora, model, refused_with_model};
use hypersd::Recipe;
use hypersd_testing::weights;

/// A command of the page, and the lines it is shown to print.
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The page without the rest of the repository: `$ generate …` in a block, and what follows up to a blank line.
fn shown() -> Vec<Shown> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md");
    let page = fs::read_to_string(page).expect("the page");
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(command) = line.strip_prefix("$ generate ") {
            shown.push(Shown { command: command.to_owned(), lines: Vec::new() });
            inside = true;
        } else if line.is_empty() || line == "```" {
            inside = false;
        } else if inside {
            shown.last_mut().expect("a command").lines.push(line.to_owned());
        }
    }
    shown
}

/// Runs a command of the page, with the tiny models for `sd15` and `sdxl` and the tiny LoRA under the names of the
/// files: a recipe goes by names, and nothing that the page shows depends on what is in them.
fn run(command: &str) -> std::process::Output {
    let run = Run::new();
    let arguments: Vec<String> = command
        .split(' ')
        .map(|argument| match argument {
            "sd15" | "sdxl" => weights("").join(format!("tiny-{argument}")).display().to_string(),
            file if file.ends_with(".safetensors") => {
                fs::copy(lora(), run.path(file)).expect("a copy of the LoRA");
                file.to_owned()
            }
            argument => argument.to_owned(),
        })
        .collect();
    run.generate(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_page_shows_what_happens() {
    let mut refusals = 0;
    for Shown { command, lines } in shown() {
        let output = run(&command);
        let message = String::from_utf8_lossy(&output.stderr);
        if command == "--list-recipes" {
            assert!(output.status.success() && message.is_empty(), "{message}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), lines);
            continue;
        }
        assert!(!lines.is_empty(), "{command}: the page shows nothing");
        if lines[0].starts_with("error: ") {
            refusals += 1;
            assert_eq!(output.status.code(), Some(USAGE), "{command}: {message}");
            // clap goes on with a hint at --help.
            assert_eq!(message.lines().take(lines.len()).collect::<Vec<_>>(), lines, "{command}");
        } else {
            assert!(output.status.success(), "{command}: {message}");
            let about_recipes = |line: &&str| line.starts_with("note: ") && line.contains("recipe");
            assert_eq!(message.lines().filter(about_recipes).collect::<Vec<_>>(), lines, "{command}");
        }
    }
    assert_eq!(refusals, 14, "every kind of refusal is on the page");
}

#[test]
fn the_page_names_every_recipe_and_its_source() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).expect("the page");
    for recipe in Recipe::ALL {
        assert!(page.contains(recipe.name), "{recipe}");
        assert!(page.contains(recipe.source), "{recipe}: {}", recipe.source);
        if let Some(licence) = recipe.licence {
            assert!(page.contains(licence.link), "{recipe}: {}", licence.link);
        }
    }
}

/// The latents of the tiny model with its LoRA, and the notes about recipes.
fn latents(options: &[&str]) -> (Vec<u8>, String) {
    let run = Run::new();
    let (model, lora) = (model(), lora());
    let mut arguments =
        vec!["--model", &model, "--lora", &lora, "--seed", "3", "--latents-out", "x.safetensors"];
    arguments.extend(options);
    let output = run.generate(&arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{options:?}: {message}");
    (fs::read(run.path("x.safetensors")).expect("the latents"), message)
}

#[test]
fn a_recipe_is_its_settings_written_out() {
    for (recipe, settings) in [
        (&["hyper-sd15-2steps"][..], &["--scheduler", "ddim", "--spacing", "trailing", "--steps", "2"][..]),
        (&["hyper-sd15-unified"], &["--scheduler", "tcd", "--eta", "1", "--steps", "1"]),
        (
            &["hyper-sd15-unified", "--steps", "4", "--eta", "0.3"],
            &["--scheduler", "tcd", "--eta", "0.3", "--steps", "4"],
        ),
        (
            &["hyper-sd15-8steps-cfg", "--guidance", "7", "--negative", "blurry"],
            &[
                "--scheduler",
                "ddim",
                "--spacing",
                "trailing",
                "--steps",
                "8",
                "--guidance",
                "7",
                "--negative",
                "blurry",
            ],
        ),
        (
            &["pcm-sd15-4steps-cfg", "--negative", "blurry"],
            &["--scheduler", "tcd", "--steps", "4", "--guidance", "7.5", "--negative", "blurry"],
        ),
        (
            &["perflow-sd15", "--steps", "6", "--guidance", "6"],
            &["--scheduler", "perflow", "--prediction", "diff-eps", "--steps", "6", "--guidance", "6"],
        ),
        (
            &["lcm-lora-sd15", "--guidance", "1.5"],
            &["--scheduler", "lcm", "--steps", "4", "--guidance", "1.5"],
        ),
    ] {
        let (with_recipe, message) = latents(&[&["--recipe"], recipe].concat());
        assert!(!message.contains("note: "), "{recipe:?}: {message}");
        assert!(with_recipe == latents(settings).0, "{recipe:?} is not {settings:?}");
    }
}

#[test]
fn forced_settings_are_the_settings_given() {
    let forced =
        ["--recipe", "hyper-sdxl-2steps", "--spacing", "leading", "--steps", "3", "--force-settings"];
    let (forced, message) = latents(&forced);
    assert_eq!(message.matches("(--force-settings)").count(), 2, "{message}");
    let plain = ["--scheduler", "ddim", "--spacing", "leading", "--steps", "3", "--eta", "0"];
    assert!(forced == latents(&plain).0, "forcing changes no setting");
}

#[test]
fn the_one_step_unet_may_be_told_its_one_step() {
    let one = ["--recipe", "hyper-sdxl-1step-unet", "--steps", "1", "--force-settings"];
    let (one, message) = latents(&one);
    assert!(!message.contains("timesteps"), "{message}");
    let plain = latents(&["--scheduler", "lcm", "--timesteps", "800"]).0;
    assert!(one == plain, "one step is the step at 800");
    let both = latents(&["--scheduler", "lcm", "--timesteps", "800", "--steps", "1"]).0;
    assert!(both == plain, "the number of timesteps may be said as well");
}

#[test]
fn right_settings_without_a_recipe_pass_without_a_word() {
    let output = run(
        "--model sd15 --lora Hyper-SD15-4steps-lora.safetensors --scheduler ddim --spacing trailing --steps 4",
    );
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !message.contains("recipe"), "{message}");
    let output = run("--model sd15 --lora style.safetensors --guidance 7 --steps 2");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !message.contains("recipe"), "{message}");
}

#[test]
fn command_lines_that_cannot_be_right_are_refused() {
    refused_with_model(&["--force-settings"], USAGE, &["--force-settings", "--recipe"]);
    refused_with_model(&["--recipe", ""], USAGE, &["--recipe"]);
    refused_with_model(&["--recipe", "hyper-sd15-unified", "--guidance", "nan"], USAGE, &["guidance"]);
    refused_with_model(
        &["--scheduler", "lcm", "--original-steps", "0"],
        USAGE,
        &["original_steps", "1 to 1000"],
    );
    refused_with_model(
        &["--scheduler", "lcm", "--timestep-shift", "1001"],
        USAGE,
        &["timestep_shift", "1001"],
    );
    refused_with_model(
        &["--scheduler", "ddim", "--timestep-shift", "250"],
        USAGE,
        &["timestep_shift", "lcm", "ddim"],
    );
    refused_with_model(&["--recipe", "hyper-sd15-unified", "--eta", "2"], USAGE, &["eta 0 to 1", "found 2"]);
    refused_with_model(
        &["--recipe", "hyper-sd15-unified", "--steps", "0"],
        USAGE,
        &["1 to 8 steps", "found 0"],
    );
}
