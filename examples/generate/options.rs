//! The command line: what may be said, and what cannot be right before a model is opened.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Parser, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use hypersd::{Algorithm, Error, PredictionType, Recipe, Request, Rng, Spacing, Steps};

use crate::{
    controls::ControlOptions,
    device::DtypeName,
    numbers::{Seed, whole},
    refiner::RefinerOptions,
    source::{Lora, Source},
    start::{HiresOptions, StartOptions},
    words::WordOptions,
};

/// Draws a picture from a prompt.
///
/// Without --model, --unet, --vae, --lora, --recipe, --scheduler and --guidance it draws with the tiny model that is in
/// this program, in one step: as with --model demo --lora demo --recipe hyper-sd15-unified. With any of them, what is
/// not given is as each option says.
///
/// The word demo stands for what the tiny model has of the kind wherever a path may; a path of that name is ./demo.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// The text to draw
    #[arg(default_value = hypersd_demo::PROMPT)]
    pub(crate) prompt: String,

    /// A model: a folder in diffusers' layout, a file, or owner/name on the Hugging Face hub [default: demo, the tiny
    /// model in this program]
    #[arg(long, value_name = "DIR|FILE|ID|demo")]
    model: Option<Source>,
    /// Replaces the UNet
    #[arg(long, value_name = "DIR|FILE|ID|demo")]
    pub(crate) unet: Option<Source>,
    /// Adds weights to the UNet's that are published as a difference over a base (PeRFlow for Stable Diffusion 1.5), with
    /// their weight
    #[arg(
        long,
        value_name = "DIR|FILE|ID[=WEIGHT]",
        value_parser = OsStringValueParser::new().try_map(Lora::parse)
    )]
    pub(crate) difference: Option<Lora>,
    /// Replaces the VAE (a KL VAE or a TAESD)
    #[arg(long, value_name = "DIR|FILE|ID|demo")]
    pub(crate) vae: Option<Source>,
    /// Replaces or supplies the (first) text encoder: a folder, or a file with CLIP's text encoder
    #[arg(long, value_name = "DIR|FILE|ID")]
    pub(crate) text_encoder: Option<PathBuf>,
    /// Replaces or supplies SDXL's second text encoder
    #[arg(long, value_name = "DIR|FILE|ID")]
    pub(crate) text_encoder_2: Option<PathBuf>,
    /// Which weights to read where a folder has them more than once, fp16 for instance [default: the plain ones]
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// A LoRA to merge, with its weight; repeatable, merged in the order given
    #[arg(
        long = "lora",
        value_name = "FILE|demo[=WEIGHT]",
        value_parser = OsStringValueParser::new().try_map(Lora::parse)
    )]
    pub(crate) loras: Vec<Lora>,

    #[command(flatten)]
    pub(crate) words: WordOptions,
    #[command(flatten)]
    pub(crate) start: StartOptions,
    #[command(flatten)]
    pub(crate) hires: HiresOptions,
    #[command(flatten)]
    pub(crate) refiner: RefinerOptions,
    #[command(flatten)]
    pub(crate) control: ControlOptions,

    /// Sets scheduler, spacing, steps, eta and guidance to what a distilled file was made for; the options below
    /// change what the recipe allows (see --list-recipes)
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub(crate) recipe: Option<Recipe>,
    /// Prints the table of recipes, and does nothing else
    #[arg(long)]
    pub(crate) list_recipes: bool,
    /// Draws with settings that the recipe refuses
    #[arg(long, requires = "recipe")]
    pub(crate) force_settings: bool,

    /// The scheduler [default: the recipe's, else the model's own, else ddim]
    #[arg(
        long,
        value_name = "ddim|tcd|lcm|euler|euler-a|dpmpp-2m|dpmpp-2m-sde|dpmpp-sde|unipc|heun|perflow|pndm|ddpm"
    )]
    scheduler: Option<Algorithm>,
    /// How timesteps are spaced [default: the recipe's, else as the model's configuration says]
    #[arg(long, value_name = "leading|trailing|linspace")]
    pub(crate) spacing: Option<Spacing>,
    /// What the UNet predicts, where the files do not say or are wrong (ddim-eps and diff-eps are PeRFlow's)
    #[arg(long, value_enum)]
    prediction: Option<PredictionName>,
    /// Inference steps; with --image those of the whole schedule, of which --strength takes the last [default: the
    /// recipe's, else 4]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of steps, such as 4")
    )]
    steps: Option<usize>,
    /// Explicit timesteps, instead of --steps (or with their number as --steps)
    #[arg(
        long,
        value_name = "T,T,…",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = whole("whole numbers with commas between, such as 999,749,499,249")
    )]
    timesteps: Option<Vec<usize>>,
    /// The number of steps that a model for LCM or TCD was distilled with [default: the recipe's, else the model's, else 50]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of steps, such as 50")
    )]
    original_steps: Option<usize>,
    /// The timestep that the noisiest stands for where the UNet is asked: NitroFusion's shift, for LCM [default: the
    /// recipe's, else the model's, else none, which is 1000]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = whole("a timestep, a whole number such as 250")
    )]
    timestep_shift: Option<usize>,
    /// Stochasticity, for the schedulers that have one [default: the recipe's, else the scheduler's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) eta: Option<f64>,
    /// Classifier-free guidance scale; at or below 1 there is no unconditional pass [default: the recipe's, else 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// The share in which guidance gives back the prompt's own contrast, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    guidance_rescale: f64,
    /// Stretches the noise schedule until it ends at pure noise, for models that were trained so and do not say it
    #[arg(long)]
    zero_snr: bool,
    /// Negative prompt
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = negative)]
    negative: Option<String>,

    /// Same seed, same picture; -1 draws one and says which
    #[arg(long, value_name = "N", default_value_t = Seed::Given(0), allow_negative_numbers = true)]
    pub(crate) seed: Seed,
    /// Whose noise the seed stands for
    #[arg(long, value_enum, default_value_t = RngName::TorchCpu)]
    rng: RngName,
    /// Width in pixels, a multiple of 8 [default: the image's, else the first control image's, else the model's]
    #[arg(
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of pixels, a multiple of 8 such as 512")
    )]
    width: Option<usize>,
    /// Height in pixels, a multiple of 8 [default: the image's, else the first control image's, else the model's]
    #[arg(
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of pixels, a multiple of 8 such as 512")
    )]
    height: Option<usize>,
    /// Pictures in one call
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true,
        value_parser = whole("a whole number of pictures, 1 or more")
    )]
    pub(crate) batch: usize,

    /// Where to compute: cpu, or, where they were compiled in, cuda, vulkan, metal or wgpu, with a number where there are
    /// several (cuda:1)
    #[arg(long, value_name = "NAME[:NUMBER]", default_value = "cpu")]
    pub(crate) device: String,
    /// Prints the devices of this machine that this program can compute on, and ends
    #[arg(long)]
    pub(crate) list_devices: bool,
    /// Type of the weights and of the arithmetic. On the cpu f16 only saves memory, bf16 is computed in where the processor
    /// can, and q8 is int8: weights and products, on any processor [default: f32 on the cpu, f16 elsewhere]
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeName>,

    /// Reads each network when it is needed and lets it go after: the memory of the largest one, not of all
    #[arg(long)]
    pub(crate) low_memory: bool,

    /// Decodes pictures that are larger than the VAE was trained on in overlapping tiles: less memory, and small differences
    /// where they meet
    #[arg(long)]
    pub(crate) tiled_vae: bool,

    /// Notes tensors and LoRA keys that the model has no place for, instead of refusing their files
    #[arg(long)]
    pub(crate) lenient: bool,

    /// Where the picture goes; with a batch, -0, -1, … goes before the extension
    #[arg(long, value_name = "PNG", default_value = "hypersd.png", value_parser = OsStringValueParser::new().try_map(picture))]
    output: PathBuf,
    /// Says what became of each LoRA (how many modules were applied, of which form, rank and scale) and of the prompt (how
    /// many tokens, and which words a small vocabulary does not know)
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Leaves out of the picture's file what it was made of (see docs/provenance.md)
    #[arg(long)]
    pub(crate) no_metadata: bool,
    /// Writes the final latents as safetensors: one f32 tensor `latents` [B, 4, H/8, W/8]
    #[arg(long, value_name = "FILE")]
    pub(crate) latents_out: Option<PathBuf>,
}

impl Options {
    /// The options, and where none of them says what to draw with, the demo's LoRA by its recipe.
    pub(crate) fn or_demo(self) -> Self {
        let Self {
            model, unet, vae, text_encoder, text_encoder_2, loras, recipe, scheduler, guidance, ..
        } = &self;
        let no_files = [model, unet, vae].iter().all(|source| source.is_none())
            && [text_encoder, text_encoder_2].iter().all(|path| path.is_none())
            && loras.is_empty();
        let no_settings = recipe.is_none() && scheduler.is_none() && guidance.is_none();
        if !(no_files && no_settings) {
            return self;
        }
        let lora = Lora { source: Source::Demo, weight: 1.0 };
        // One step leaves none for a share of it.
        let few = self.timesteps.is_none() && self.start.wants_steps(&self.hires);
        let steps = self.steps.or(few.then_some(4));
        Self { loras: vec![lora], recipe: Some(Recipe::HYPER_SD15_UNIFIED), steps, ..self }
    }

    /// The model to draw with.
    pub(crate) fn model(&self) -> &Source {
        self.model.as_ref().unwrap_or(&Source::Demo)
    }

    /// The request that the options describe: the recipe's where they are silent, else the default.
    ///
    /// # Errors
    /// For `--steps` that is not the number of `--timesteps`.
    pub(crate) fn request(&self) -> Result<Request, Error> {
        let base = match self.recipe {
            Some(recipe) => recipe.request(self.words.prompt(&self.prompt)),
            None => Request { prompt: self.words.prompt(&self.prompt), ..Request::default() },
        };
        let steps = match (&self.timesteps, self.steps, &base.steps) {
            (Some(timesteps), Some(steps), _) if timesteps.len() != steps => {
                return Err(Error::Request {
                    option: "--steps",
                    expected: format!("none beside --timesteps, or their number {}", timesteps.len()),
                    found: steps.to_string(),
                });
            }
            (Some(timesteps), ..) => Steps::Timesteps(timesteps.clone()),
            (None, Some(steps), Steps::Timesteps(own)) if own.len() == steps => base.steps.clone(),
            (None, Some(steps), _) => Steps::Count(steps),
            (None, None, own) => own.clone(),
        };
        Ok(Request {
            negative: self.negative.as_deref().map(|text| self.words.negative(text)),
            seed: self.seed.number(),
            rng: self.rng.into(),
            width: self.width,
            height: self.height,
            batch: self.batch,
            scheduler: self.scheduler.or(base.scheduler),
            spacing: self.spacing.or(base.spacing),
            prediction: self.prediction.map(PredictionType::from).or(base.prediction),
            steps,
            original_steps: self.original_steps.or(base.original_steps),
            timestep_shift: self.timestep_shift.or(base.timestep_shift),
            eta: self.eta.or(base.eta),
            guidance: self.guidance.unwrap_or(base.guidance),
            guidance_rescale: self.guidance_rescale,
            zero_snr: self.zero_snr.then_some(true),
            refine: self.refiner.refine(),
            ..base
        })
    }

    /// Where picture `index` goes.
    pub(crate) fn output(&self, index: usize) -> PathBuf {
        if self.batch == 1 {
            return self.output.clone();
        }
        let mut name = self.output.file_stem().unwrap_or_default().to_os_string();
        name.push(format!("-{index}"));
        if let Some(extension) = self.output.extension() {
            name.push(".");
            name.push(extension);
        }
        self.output.with_file_name(name)
    }
}

/// A negative prompt, which may begin with a hyphen; what begins with two is another option whose text was forgotten.
fn negative(text: &str) -> Result<String, String> {
    match text.starts_with("--") {
        true => {
            Err("expected text, found an option; text that begins so is given with a space before it".into())
        }
        false => Ok(text.into()),
    }
}

/// The name of a picture to write. A pipe or a device may be called as it likes.
fn picture(given: OsString) -> Result<PathBuf, String> {
    let path = PathBuf::from(given);
    let is_stream = || path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("png") => Ok(path),
        _ if is_stream() => Ok(path),
        _ => Err("expected a name that ends in .png".into()),
    }
}

/// `--rng`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RngName {
    TorchCpu,
    TorchCuda,
}

impl From<RngName> for Rng {
    fn from(name: RngName) -> Self {
        match name {
            RngName::TorchCpu => Self::TorchCpu,
            RngName::TorchCuda => Self::TorchCuda,
        }
    }
}

/// `--prediction`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PredictionName {
    Epsilon,
    V,
    Sample,
    DdimEps,
    DiffEps,
}

impl From<PredictionName> for PredictionType {
    fn from(name: PredictionName) -> Self {
        match name {
            PredictionName::Epsilon => Self::Epsilon,
            PredictionName::V => Self::VPrediction,
            PredictionName::Sample => Self::Sample,
            PredictionName::DdimEps => Self::DdimEps,
            PredictionName::DiffEps => Self::DiffEps,
        }
    }
}
