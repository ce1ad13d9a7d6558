//! Draws a picture from a prompt, with every option of the library.
//!
//! ```sh
//! cargo run --release --example generate
//! cargo run --release --example generate -- --model stable-diffusion-v1-5 \
//!     --lora Hyper-SD15-1step-lora.safetensors --scheduler tcd --eta 1.0 --steps 1 "a photo of a cat"
//! ```
//!
//! The first draws with the tiny model of `hypersd-demo`, which is in the program.
//!
//! Exit status: 0 on success, 2 for a command line that cannot be right, 1 for everything else.

mod controls;
mod device;
mod effect;
mod hub;
mod numbers;
mod options;
mod outputs;
mod recipes;
mod refiner;
mod say;
mod source;
mod start;
mod threads;
mod words;

use std::{
    error::Error,
    io::{IsTerminal, stderr},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use hypersd::{Image, Pipeline, PipelineBuilder, Request, Tensor, save_latents};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{numbers::Seed, options::Options};

/// A command line that cannot be right, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse().or_demo();
    let done = if options.list_recipes {
        say::print(&recipes::table()).map_err(Into::into)
    } else if options.list_devices {
        say::print(&device::table()).map_err(Into::into)
    } else {
        run(&options)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::line(format_args!("error: {error}"));
            let usage = error.downcast_ref::<hypersd::Error>().is_some_and(hypersd::Error::is_request)
                || error.downcast_ref().is_some_and(device::Refused::is_usage)
                || error.is::<device::CpuOnly>();
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    threads::start()?; // before anything computes
    options.control.check()?;
    let request = options.request()?;
    let start = options.start.start()?;
    let request = Request { controls: options.control.controls(&start)?, start, ..request };
    request.check()?;
    recipes::check(options, &request)?;
    let (device, (dtype, products)) = device::choose(&options.device, options.dtype)?;
    outputs::try_out(options)?;

    let progress = Progress::new();
    let builder = open(options, &progress.0)?.dtype(dtype);
    let builder = products.into_iter().fold(builder, PipelineBuilder::products);
    recipes::check_family(options, builder.family())?;
    builder.memory(&request, &device)?.check()?;
    let hires = options.hires.hires();
    if let Some(hires) = &hires {
        let second = builder.check_hires(&request, hires)?;
        if let Some(recipe) = options.recipe.filter(|_| !options.force_settings) {
            recipe.check(&second)?;
        }
    }
    let settled = builder.settled(&request);
    recipes::notice(options, &settled);
    effect::notice(options, &settled);
    if let Seed::Drawn(seed) = options.seed {
        say::note(format_args!("the seed is {seed}"));
    }

    progress.say("loading");
    // On threads of its own: by the time the picture is drawn it is done.
    let hashing = if options.no_metadata { None } else { Some(builder.hash_weights()?) };
    let pipeline = builder.load(&device)?;
    if options.verbose {
        for report in pipeline.lora_reports() {
            progress.0.suspend(|| say::line(report));
        }
        for count in pipeline.tokens(&request.prompt)? {
            progress.0.suspend(|| say::line(count));
        }
    }

    let (mut images, mut latents) = draw(&pipeline, &request, &progress)?;
    if let Some(hires) = &hires {
        let second = hires.request(&request, images)?;
        (images, latents) = draw(&pipeline, &second, &progress)?;
    }
    progress.finish();

    let provenance = match hashing {
        Some(hashing) => {
            let mut provenance = pipeline.provenance(&request)?.with_weights(hashing.finish()?);
            if let Some(recipe) = options.recipe {
                provenance = provenance.with_recipe(recipe.name);
            }
            if let Some(hires) = &hires {
                provenance = provenance.with_hires(hires);
            }
            Some(provenance)
        }
        None => None,
    };
    for (index, image) in images.iter().enumerate() {
        let of_this = provenance.clone().map(|provenance| provenance.with_index(index));
        let text = of_this.map_or_else(Vec::new, |provenance| provenance.text_chunks());
        image.save_with(options.output(index), &text)?;
    }
    if let Some(path) = &options.latents_out {
        save_latents(path, latents)?;
    }
    Ok(())
}

/// The pictures of a request, and their latents.
fn draw(
    pipeline: &Pipeline,
    request: &Request,
    progress: &Progress,
) -> Result<(Vec<Image>, Tensor<4>), Box<dyn Error>> {
    let mut latents = None;
    for step in pipeline.denoise(request)? {
        let step = step?;
        progress.step(step.index + 1, step.steps);
        latents = Some(step.x);
    }
    let latents = latents.ok_or("the schedule has no steps")?;
    progress.say("decoding");
    Ok((request.start.paste(pipeline.decode(latents.clone())?)?, latents))
}

/// Opens the model and everything that is added to it, without reading weights.
fn open(options: &Options, bar: &ProgressBar) -> Result<PipelineBuilder, hypersd::Error> {
    let locate = |given: &Path| hub::locate(given, options.variant.as_deref(), bar);
    let notes = bar.clone();
    let note = move |notice| notes.suspend(|| say::note(notice));
    let model = options.model().location(hypersd_demo::model, locate)?;
    let mut builder = Pipeline::open(model)?.on_notice(note);
    if options.low_memory {
        builder = builder.low_memory();
    }
    if options.tiled_vae {
        builder = builder.tiled_vae();
    }
    if options.lenient {
        builder = builder.lenient();
    }
    if let Some(variant) = &options.variant {
        builder = builder.variant(variant);
    }
    if let Some(unet) = &options.unet {
        builder = builder.unet(unet.location(|| hypersd_demo::model().join("unet"), locate)?)?;
    }
    if let Some(difference) = &options.difference {
        // The demo has none.
        let location = difference.source.location(|| Path::new("demo").into(), locate)?;
        builder = builder.difference(location, difference.weight)?;
    }
    if let Some(vae) = &options.vae {
        builder = builder.vae(vae.location(|| hypersd_demo::model().join("vae"), locate)?)?;
    }
    if let Some(encoder) = &options.text_encoder {
        builder = builder.text_encoder(locate(encoder)?)?;
    }
    if let Some(encoder) = &options.text_encoder_2 {
        builder = builder.text_encoder_2(locate(encoder)?)?;
    }
    if let Some(refiner) = &options.refiner.refiner {
        builder = builder.refiner(locate(refiner)?)?;
    }
    for controlnet in &options.control.controlnets {
        builder = builder.controlnet(controlnet.location(hypersd_demo::controlnet, locate)?)?;
    }
    for lora in &options.loras {
        builder = builder.lora(lora.source.location(hypersd_demo::hyper_lora, locate)?, lora.weight)?;
    }
    for embedding in &options.words.embeddings {
        builder = builder.embedding(locate(&embedding.file)?, embedding.word.as_deref())?;
    }
    Ok(builder)
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

    fn step(&self, done: usize, steps: usize) {
        self.0.set_message("denoising");
        self.0.set_length(steps as u64);
        self.0.set_position(done as u64);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
