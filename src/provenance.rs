//! A picture's account of itself, kept in its file so that it can be made again.

mod file;
mod hashing;
mod hires;
mod parameters;
mod refine;
mod start;

use hypersd_core::{Location, Rng, TextChunk};
use hypersd_models::Numbers;
use serde::{Deserialize, Serialize};

pub use file::{WeightFile, WeightPart};
pub use hashing::Hashing;
pub(crate) use hashing::WeightFiles;
pub use hires::HiresRecord;
pub use refine::RefineRecord;
pub use start::{MaskRecord, StartRecord};

use crate::{Error, Hires, Pipeline, Request, draw::Plan};

/// The keyword under which AUTOMATIC1111's web UI, and all that read its pictures, look.
const PARAMETERS: &str = "parameters";
/// The keyword of all of it, as JSON.
const HYPERSD: &str = "hypersd";

/// The request, the model and the program that a picture was made with.
///
/// ```no_run
/// use hypersd::{Device, Pipeline, Provenance, Recipe};
///
/// let builder = Pipeline::open("stable-diffusion-v1-5")?.lora("Hyper-SD15-1step-lora.safetensors", 1.0)?;
/// let hashing = builder.hash_weights()?; // goes on while the pipeline loads and draws
/// let pipeline = builder.load(&Device::flex())?;
/// let request = Recipe::HYPER_SD15_UNIFIED.request("a photo of a cat");
/// let images = pipeline.generate(&request)?;
/// let provenance = pipeline.provenance(&request)?.with_weights(hashing.finish()?);
/// images[0].save_with("cat.png", &provenance.text_chunks())?;
///
/// assert_eq!(Provenance::read("cat.png")?, Some(provenance));
/// # Ok::<(), hypersd::Error>(())
/// ```
///
/// # Versions
///
/// Every version from 0.1.0 on reads what any other wrote:
///
/// - A field that it does not know is passed over, and a word that it does not know (a scheduler, a noise, a
///   [part](WeightPart)) is kept as text.
/// - A field that is not there stands for [`Request::default`]'s value, or for nothing. The seven without which nothing
///   could be drawn again are always there: `version`, `prompt`, `seed`, `width`, `height`, `scheduler`, `timesteps`.
/// - For that, fields are only added, and a new one is such that all pictures before it had its default. No field is
///   renamed or changes its meaning. There is therefore no number of the format: `version` says which program wrote it,
///   to people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The program: `hypersd 0.1.0`.
    pub version: String,
    /// The text that was drawn.
    pub prompt: String,
    /// The text that was steered away from.
    #[serde(default)]
    pub negative: Option<String>,
    /// The text for SDXL's second encoder, where it was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_2: Option<String>,
    /// The same of the negative prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_2: Option<String>,
    /// True where the prompts were read for AUTOMATIC1111's weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub weighted: bool,
    /// True where the prompts took as many windows of 75 tokens as they needed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub long: bool,
    /// Layers of the text encoders that were left out, as diffusers counts them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clip_skip: usize,
    /// The seed of the noise.
    pub seed: u64,
    /// The generator that the seed is for: `torch-cpu` or `torch-cuda`; the former where nothing is said.
    #[serde(default = "torch_cpu")]
    pub rng: String,
    /// Width in pixels; of a picture that was drawn twice, the first time.
    pub width: usize,
    /// Height in pixels, as the width.
    pub height: usize,
    /// Pictures that were drawn from one draw of noise; 1 where nothing is said.
    #[serde(default = "one")]
    pub batch: usize,
    /// The place of this one among them, from 0.
    #[serde(default)]
    pub index: usize,
    /// The scheduler that was used, as [`Algorithm`](crate::Algorithm) reads it: `tcd`.
    pub scheduler: String,
    /// True where the request asked for Karras' sigmas.
    #[serde(default)]
    pub karras: bool,
    /// The prediction that the request asked for, as `scheduler_config.json` has it: `v_prediction`. `None` is what the
    /// model's files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<String>,
    /// The number of steps that the request said the model was distilled with. `None` is what the model's files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_steps: Option<usize>,
    /// The timestep that the request said the noisiest stands for. `None` is what the model's files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestep_shift: Option<usize>,
    /// The training timesteps that the UNet was told in the steps.
    pub timesteps: Vec<f32>,
    /// The number of steps that was asked for, where the UNet is asked more than once for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Stochasticity.
    #[serde(default)]
    pub eta: f64,
    /// Classifier-free guidance scale; 0 is none.
    #[serde(default)]
    pub guidance: f64,
    /// What was started from, where it was not noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartRecord>,
    /// A second, larger drawing from the first, which all else here is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<HiresRecord>,
    /// The refiner, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<RefineRecord>,
    /// Share in which guidance was rescaled.
    #[serde(default)]
    pub guidance_rescale: f64,
    /// True where the request asked for betas that end at pure noise.
    #[serde(default)]
    pub zero_snr: bool,
    /// The recipe that was followed.
    #[serde(default)]
    pub recipe: Option<String>,
    /// The files that the weights came from; none where they were not hashed.
    #[serde(default)]
    pub weights: Vec<WeightFile>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn torch_cpu() -> String {
    Rng::TorchCpu.to_string()
}

fn one() -> usize {
    1
}

impl Pipeline {
    /// The provenance of a request's pictures; without the [recipe](Provenance::with_recipe), the
    /// [weights](Provenance::with_weights) and the [index](Provenance::with_index), which are the caller's to fill in.
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise).
    pub fn provenance(&self, request: &Request) -> Result<Provenance, Error> {
        let plan = self.model.plan(request)?;
        let Plan { algorithm, count, size: [height, width], .. } = plan;
        let timesteps: Vec<f32> = plan.steps().map(|step| step.t).collect();
        Ok(Provenance {
            version: concat!("hypersd ", env!("CARGO_PKG_VERSION")).into(),
            prompt: request.prompt.text().into(),
            negative: request.negative.as_ref().map(|negative| negative.text().into()),
            prompt_2: request.prompt.second().map(String::from),
            negative_2: request.negative.as_ref().and_then(|negative| negative.second().map(String::from)),
            weighted: request.prompt.is_weighted(),
            long: request.prompt.is_long(),
            clip_skip: request.prompt.clip_skip(),
            seed: request.seed,
            rng: request.rng.to_string(),
            width,
            height,
            batch: request.batch,
            index: 0,
            scheduler: algorithm.to_string(),
            karras: request.karras.unwrap_or(false),
            prediction: request.prediction.map(|prediction| prediction.to_string()),
            original_steps: request.original_steps,
            timestep_shift: request.timestep_shift,
            steps: Some(count).filter(|&count| count != timesteps.len()),
            timesteps,
            eta: request.eta.unwrap_or(0.0),
            guidance: request.guidance,
            start: StartRecord::of(request),
            hires: None,
            refine: self.refine_record(request),
            guidance_rescale: request.guidance_rescale,
            zero_snr: request.zero_snr.unwrap_or(false),
            recipe: None,
            weights: Vec::new(),
        })
    }
}

impl Pipeline {
    fn refine_record(&self, request: &Request) -> Option<RefineRecord> {
        let last = self.model.refiner.as_ref().map_or(&self.model.text, |refiner| &refiner.text);
        let scored = last.profile.numbers == Numbers::Aesthetics;
        RefineRecord::of(&request.refine.unwrap_or_default(), self.model.refiner.is_some(), scored)
    }
}

impl Provenance {
    /// The same with the files that the weights came from, as [`Hashing::finish`] gives them.
    #[must_use]
    pub fn with_weights(self, weights: Vec<WeightFile>) -> Self {
        Self { weights, ..self }
    }

    /// The same with the name of the recipe that was followed.
    #[must_use]
    pub fn with_recipe(self, recipe: impl Into<String>) -> Self {
        Self { recipe: Some(recipe.into()), ..self }
    }

    /// The same for a picture that was drawn a second time, larger. It is then the provenance of the first drawing's request.
    #[must_use]
    pub fn with_hires(self, hires: &Hires) -> Self {
        Self { hires: Some(HiresRecord::of(hires)), ..self }
    }

    /// The same for another picture of the batch, by its place from 0.
    #[must_use]
    pub fn with_index(self, index: usize) -> Self {
        Self { index, ..self }
    }

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

    /// Reads it from a PNG file, [whichever version](Self#versions) wrote it; `None` where the picture was not made by
    /// hypersd, or does not say.
    ///
    /// # Errors
    /// [`Error::Image`] for what is no PNG file, [`Error::Config`] for a `hypersd` chunk that cannot be read.
    pub fn read(location: impl Into<Location>) -> Result<Option<Self>, Error> {
        let location = &location.into();
        let chunks = TextChunk::read(location)?;
        let Some(chunk) = chunks.iter().find(|chunk| chunk.keyword == HYPERSD) else { return Ok(None) };
        serde_json::from_str(&chunk.text)
            .map(Some)
            .map_err(Error::config(format_args!("{location}: {HYPERSD}")))
    }
}

#[cfg(test)]
mod tests;
