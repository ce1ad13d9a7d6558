//! Draws a picture from a prompt, with every option of the library.
//!
//! ```sh
//! cargo run --release --example generate -- --model stable-diffusion-v1-5 \
//!     --lora Hyper-SD15-1step-lora.safetensors --scheduler tcd --eta 1.0 --steps 1 "a photo of a cat"
//! ```
//!
//! Exit status: 0 on success, 2 for a command line that cannot be right, 1 for everything else.
#![expect(clippy::print_stderr, reason = "a program talks to its user")]

mod device;
mod options;

use std::{
    error::Error,
    io::{IsTerminal, stderr},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use hypersd::{Pipeline, PipelineBuilder, Request, save_latents};
use indicatif::{ProgressBar, ProgressStyle};

use crate::options::Options;

/// A command line that cannot be right, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let usage = error.downcast_ref::<hypersd::Error>().is_some_and(hypersd::Error::is_request)
                || error.is::<device::NotCompiledIn>();
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let request = options.request();
    request.check()?;
    let (device, dtype) = device::choose(options.device, options.dtype)?;
    for path in options.outputs() {
        require_parent(&path)?;
    }

    let mut builder = Pipeline::open(&options.model)?.dtype(dtype);
    if let Some(path) = &options.unet {
        builder = builder.unet(path)?;
    }
    if let Some(path) = &options.vae {
        builder = builder.vae(path)?;
    }
    for lora in &options.loras {
        builder = builder.lora(&lora.path, lora.weight)?;
    }
    builder.check(&request)?;
    notice_scheduler(&builder, &request);

    let progress = Progress::new();
    progress.say("loading");
    let pipeline = builder.load(&device)?;
    for report in pipeline.lora_reports() {
        progress.notice(&report.to_string());
    }
    if let Some(rest) = pipeline.truncated(&request.prompt)? {
        eprintln!("note: the prompt is longer than the text encoder reads; without effect: {rest:?}");
    }

    let mut latents = None;
    for step in pipeline.denoise(&request)? {
        let step = step?;
        progress.step(step.index + 1, step.steps);
        latents = Some(step.x);
    }
    let latents = latents.ok_or("the schedule has no steps")?;
    progress.say("decoding");
    let images = pipeline.decode(latents.clone())?;
    progress.finish();

    for (index, image) in images.iter().enumerate() {
        image.save(options.output(index))?;
    }
    if let Some(path) = &options.latents_out {
        save_latents(path, latents)?;
    }
    Ok(())
}

/// Hours of work must not end at a folder that is not there.
fn require_parent(path: &Path) -> Result<(), String> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => Err(format!(
            "{}: expected a folder to write to, found no folder {}",
            path.display(),
            parent.display()
        )),
        _ if path.is_dir() => Err(format!("{}: expected a file to write, found a folder", path.display())),
        _ => Ok(()),
    }
}

/// Says which scheduler is used where the model asks for one that hypersd does not have.
fn notice_scheduler(builder: &PipelineBuilder, request: &Request) {
    let (algorithm, class_name) = builder.scheduler();
    let asked = class_name.unwrap_or("no scheduler");
    if request.scheduler.is_none() && asked != algorithm.class_name() {
        eprintln!(
            "note: the model's configuration names {asked}; using {algorithm} (choose with --scheduler)"
        );
    }
}

/// A bar on standard error, only when that is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn new() -> Self {
        let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}").expect("a constant"),
        );
        Self(bar)
    }

    fn say(&self, message: &'static str) {
        self.0.set_message(message);
        self.0.tick();
    }

    fn notice(&self, line: &str) {
        self.0.println(line);
    }

    fn step(&self, done: usize, steps: usize) {
        self.0.set_message("denoising");
        self.0.set_length(steps as u64);
        self.0.set_position(done as u64);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
