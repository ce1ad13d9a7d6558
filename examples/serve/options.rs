//! The command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{
    Parser,
    builder::{OsStringValueParser, TypedValueParser},
};
use hypersd::Recipe;

use crate::{
    device::DtypeName,
    source::{Lora, Source},
};

/// Draws for others: for a page on this machine, and for programs by OpenAI's and AUTOMATIC1111's interfaces.
///
/// Without --model, --unet, --vae, --lora and --recipe it draws with the tiny model that is in this program, with its LoRA and its
/// ControlNet. docs/server.md says what it answers.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// A model: a folder in diffusers' layout, a file, or owner/name on the Hugging Face hub [default: demo, the tiny
    /// model in this program]
    #[arg(long, value_name = "DIR|FILE|ID|demo")]
    pub(crate) model: Option<Source>,
    /// Replaces the UNet
    #[arg(long, value_name = "DIR|FILE|ID|demo")]
    pub(crate) unet: Option<Source>,
    /// Replaces the VAE (a KL VAE or a TAESD)
    #[arg(long, visible_alias = "taesd", value_name = "DIR|FILE|ID|demo")]
    pub(crate) vae: Option<Source>,
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
    /// A ControlNet; repeatable
    #[arg(long = "controlnet", value_name = "DIR|FILE|ID|demo")]
    pub(crate) controlnets: Vec<Source>,
    /// Sets scheduler, spacing, steps, eta and guidance to what a distilled file was made for; a request that it was not
    /// made for is refused
    #[arg(long, value_name = "NAME", hide_possible_values = true)]
    pub(crate) recipe: Option<Recipe>,
    /// Keeps the model without its LoRAs in memory, too, for requests that ask for it (the demo always does)
    #[arg(long)]
    pub(crate) without_lora: bool,
    /// Where to compute: cpu, or, where they were compiled in, cuda, vulkan, metal or wgpu, with a number where there are
    /// several (cuda:1)
    #[arg(long, value_name = "NAME[:NUMBER]", default_value = "cpu")]
    pub(crate) device: String,
    /// Prints the devices of this machine that this program can compute on, and ends
    #[arg(long)]
    pub(crate) list_devices: bool,
    /// Type of the weights and of the arithmetic [default: f32 on the cpu, f16 elsewhere]
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeName>,
    /// Notes tensors and LoRA keys that the model has no place for, instead of refusing their files
    #[arg(long)]
    pub(crate) lenient: bool,

    /// The address to listen at. Whoever can reach it can draw: beyond this machine, set a token, and put TLS before it
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// The port to listen at; 0 is one that is free
    #[arg(long, value_name = "N", default_value_t = 8188)]
    pub(crate) port: u16,
    /// A file with a token that clients must have: `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Another origin whose pages may ask, such as https://example.org; repeatable
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// How much is said on standard error
    #[arg(long, value_name = "error|warn|info|debug", default_value = "info")]
    pub(crate) log: tracing::Level,
}

/// What a request may ask for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// Bytes of a request
    #[arg(long = "max-body", value_name = "MIB", default_value = "32", value_parser = mebibytes)]
    pub(crate) body: usize,
    /// Pixels of a picture that is drawn [default: 1024x1024]
    #[arg(long = "max-pixels", value_name = "N", default_value_t = 1 << 20)]
    pub(crate) pixels: usize,
    /// Steps of a picture
    #[arg(long = "max-steps", value_name = "N", default_value_t = 50)]
    pub(crate) steps: usize,
    /// Pictures of a request
    #[arg(long = "max-batch", value_name = "N", default_value_t = 8)]
    pub(crate) batch: usize,
    /// Requests that wait to be drawn; beyond them it answers 429
    #[arg(long = "max-queue", value_name = "N", default_value_t = 64)]
    pub(crate) queue: usize,
    /// Pages that draw live
    #[arg(long = "max-live", value_name = "N", default_value_t = 64)]
    pub(crate) live: usize,
    /// Seconds that a picture may take to be drawn
    #[arg(long = "max-seconds", value_name = "S", default_value = "120", value_parser = seconds)]
    pub(crate) time: Duration,
    /// Seconds that what is being drawn has to be finished when the server is told to go
    #[arg(long = "grace", value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) grace: Duration,
}

impl Limits {
    /// Pixels of a picture that is sent. It is larger than what is drawn where a photograph is made smaller.
    pub(crate) const SENT_PIXELS: usize = 1 << 24;
    /// Bytes of a prompt.
    pub(crate) const PROMPT: usize = 10_000;
}

fn mebibytes(text: &str) -> Result<usize, String> {
    let whole = text.parse::<usize>().ok().filter(|size| (1..=1024).contains(size));
    whole.map(|size| size << 20).ok_or_else(|| "expected a whole number from 1 to 1024".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    number.ok_or_else(|| "expected a number of seconds".into())
}

impl Options {
    /// True where nothing says what to draw with.
    pub(crate) fn is_demo(&self) -> bool {
        let parts = [&self.model, &self.unet, &self.vae];
        parts.iter().all(|source| source.is_none())
            && self.loras.is_empty()
            && self.controlnets.is_empty()
            && self.recipe.is_none()
    }

    /// The options, and where none of them says what to draw with, the demo's LoRA, by its recipe, and its ControlNet.
    pub(crate) fn or_demo(self) -> Self {
        if !self.is_demo() {
            return self;
        }
        Self {
            loras: vec![Lora { source: Source::Demo, weight: 1.0 }],
            controlnets: vec![Source::Demo],
            recipe: Some(Recipe::HYPER_SD15_UNIFIED),
            without_lora: true,
            ..self
        }
    }
}
