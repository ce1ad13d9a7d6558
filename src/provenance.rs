//! What a picture was made of, kept in its file so that it can be made again.

mod hashing;
mod parameters;

use std::path::Path;

use hypersd_core::{Rng, TextChunk};
use serde::{Deserialize, Serialize};

pub(crate) use hashing::WeightFiles;
pub use hashing::{Hashing, WeightFile, WeightPart};

use crate::{Error, Pipeline, Request, draw::Plan};

/// The keyword under which AUTOMATIC1111's web UI, and all that read its pictures, look.
const PARAMETERS: &str = "parameters";
/// The keyword of all of it, as JSON.
const HYPERSD: &str = "hypersd";

/// What a picture was made of.
///
/// ```no_run
/// use hypersd::{Device, Pipeline, Provenance, Recipe};
///
/// let builder = Pipeline::open("stable-diffusion-v1-5")?.lora("Hyper-SD15-1step-lora.safetensors", 1.0)?;
/// let hashing = builder.hash_weights()?; // goes on while the pipeline loads and draws
/// let pipeline = builder.load(&Device::flex())?;
/// let request = Recipe::HYPER_SD15_UNIFIED.request("a photo of a cat");
/// let images = pipeline.generate(&request)?;
/// let provenance = Provenance { weights: hashing.finish()?, ..pipeline.provenance(&request)? };
/// images[0].save_with("cat.png", &provenance.text_chunks())?;
///
/// assert_eq!(Provenance::read("cat.png")?, Some(provenance));
/// # Ok::<(), hypersd::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program: `hypersd 0.1.0`.
    pub version: String,
    /// The text that was drawn.
    pub prompt: String,
    /// What was steered away from.
    pub negative: Option<String>,
    /// Where the noise started.
    pub seed: u64,
    /// Whose noise the seed stands for: `torch-cpu` or `torch-cuda`.
    pub rng: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Pictures that were drawn from one draw of noise.
    pub batch: usize,
    /// Which of them this is, from 0.
    pub index: usize,
    /// The scheduler that was used, as [`Algorithm`](crate::Algorithm) reads it: `tcd`.
    pub scheduler: String,
    /// Whether the request asked for Karras' sigmas.
    pub karras: bool,
    /// The training timesteps of the steps.
    pub timesteps: Vec<f32>,
    /// Stochasticity.
    pub eta: f64,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// The recipe that was followed.
    pub recipe: Option<String>,
    /// The files that the weights came from.
    pub weights: Vec<WeightFile>,
}

impl Pipeline {
    /// What the pictures of a request are made of; without the [recipe](Provenance::recipe), the
    /// [weights](Provenance::weights) and the [index](Provenance::index), which are the caller's to fill in.
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise).
    pub fn provenance(&self, request: &Request) -> Result<Provenance, Error> {
        let Plan { algorithm, schedule, size: [height, width], .. } = self.model.plan(request)?;
        Ok(Provenance {
            version: concat!("hypersd ", env!("CARGO_PKG_VERSION")).into(),
            prompt: request.prompt.clone(),
            negative: request.negative.clone(),
            seed: request.seed,
            rng: match request.rng {
                Rng::TorchCpu => "torch-cpu".into(),
                Rng::TorchCuda => "torch-cuda".into(),
            },
            width,
            height,
            batch: request.batch,
            index: 0,
            scheduler: algorithm.to_string(),
            karras: request.karras.unwrap_or(false),
            timesteps: schedule.steps.iter().map(|step| step.t).collect(),
            eta: request.eta.unwrap_or(0.0),
            guidance: request.guidance,
            recipe: None,
            weights: Vec::new(),
        })
    }
}

impl Provenance {
    /// The text for [`Image::save_with`](crate::Image::save_with): `parameters` as AUTOMATIC1111 writes it, and
    /// `hypersd`, which is all of it as JSON.
    ///
    /// # Panics
    /// Never: numbers, strings and lists always have a JSON form.
    #[must_use]
    pub fn text_chunks(&self) -> Vec<TextChunk> {
        let json = serde_json::to_string(self).expect("a value of numbers, strings and lists");
        // PNG text has no NUL; JSON escapes it.
        let parameters = self.parameters().replace('\0', "\u{fffd}");
        vec![
            TextChunk { keyword: PARAMETERS.into(), text: parameters },
            TextChunk { keyword: HYPERSD.into(), text: json },
        ]
    }

    /// What a PNG file says of itself; `None` where it was not made by hypersd, or does not say.
    ///
    /// # Errors
    /// [`Error::Weights`] for what is no PNG file, [`Error::Config`] for a `hypersd` chunk that cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let path = path.as_ref();
        let chunks = TextChunk::read(path)?;
        let Some(chunk) = chunks.iter().find(|chunk| chunk.keyword == HYPERSD) else { return Ok(None) };
        serde_json::from_str(&chunk.text).map(Some).map_err(Error::config(path.display()))
    }
}

#[cfg(test)]
mod tests;
