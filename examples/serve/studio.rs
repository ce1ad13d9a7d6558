//! The model that draws, and what is known of it.

use std::{error::Error, path::Path};

use hypersd::{Control, Image, Pipeline, PipelineBuilder, Recipe, Request, TextChunk, WeightFile};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::{device, hub, options::Options, refusal::Refusal, source::Source};

/// The loaded model.
pub(crate) struct Studio {
    /// With all that was asked for.
    pipeline: Pipeline,
    /// Without the LoRAs.
    bare: Option<Pipeline>,
    weights: Vec<WeightFile>,
    pub(crate) recipe: Option<Recipe>,
    pub(crate) about: About,
}

/// What clients are told of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) model: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) controlnets: usize,
    pub(crate) without_lora: bool,
    #[serde(skip)]
    pub(crate) loras: Vec<String>,
    /// A prompt that the model was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<&'static str>,
}

/// What a request comes to: everything that it left to the model is written out.
pub(crate) struct Settled {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) steps: usize,
    pub(crate) scheduler: String,
    pub(crate) eta: f64,
    pub(crate) guidance: f64,
}

impl Studio {
    /// Opens and loads what the options name. It takes seconds.
    pub(crate) fn open(options: &Options) -> Result<Self, Box<dyn Error>> {
        let (device, (dtype, products)) = device::choose(&options.device, options.dtype)?;
        let in_numbers = |builder: PipelineBuilder| {
            products.into_iter().fold(builder.dtype(dtype), PipelineBuilder::products)
        };
        let builder = in_numbers(opened(options, true)?);
        if let Some(recipe) = options.recipe {
            recipe.check_family(builder.family())?;
        }
        let hashing = builder.hash_weights()?;
        let pipeline = builder.load(&device)?;
        let bare = match options.without_lora && !options.loras.is_empty() {
            true => Some(in_numbers(opened(options, false)?).load(&device)?),
            false => None,
        };
        let weights = hashing.finish()?;
        // What it draws where nothing says a size is of the model's own.
        let own = pipeline.provenance(&Request::default())?;
        let about = About {
            model: name(options.model.as_ref(), "demo"),
            width: own.width,
            height: own.height,
            controlnets: options.controlnets.len(),
            without_lora: bare.is_some(),
            loras: options.loras.iter().map(|lora| name(Some(&lora.source), "demo")).collect(),
            prompt: options.model.is_none().then_some(hypersd_demo::PROMPT),
        };
        let studio = Self { pipeline, bare, weights, recipe: options.recipe, about };
        // What is first drawn is not to be slower than what comes after.
        studio.pipeline.warmup(&studio.complete(studio.request()))?;
        Ok(studio)
    }

    /// The pipeline with the LoRAs, or without.
    pub(crate) fn pipeline(&self, lora: bool) -> Result<&Pipeline, Refusal> {
        match (lora, &self.bare) {
            (true, _) => Ok(&self.pipeline),
            (false, Some(bare)) => Ok(bare),
            (false, None) => Err(Refusal::of("lora", "true (start the server with --without-lora)", "false")),
        }
    }

    /// An empty request with the recipe's settings.
    pub(crate) fn request(&self) -> Request {
        self.recipe.map_or_else(Request::default, |recipe| recipe.request(""))
    }

    /// The request as it is drawn: with a picture for each ControlNet that is shown nothing, and has no say then.
    pub(crate) fn complete(&self, mut request: Request) -> Request {
        let About { width, height, controlnets, .. } = self.about;
        if request.start.images().is_empty() && request.controls.is_empty() {
            // A picture that has no say is not to say the size.
            request.width = request.width.or(Some(width));
            request.height = request.height.or(Some(height));
        }
        let missing = controlnets.saturating_sub(request.controls.len());
        request.controls.extend((0..missing).map(|_| silent()));
        request
    }

    /// Checks a [complete](Self::complete) request against the model and the recipe.
    pub(crate) fn settled(&self, request: &Request, lora: bool) -> Result<Settled, Refusal> {
        if let Some(recipe) = self.recipe.filter(|_| lora) {
            recipe.check(request)?;
        }
        let settled = self.pipeline(lora)?.provenance(request)?;
        Ok(Settled {
            width: settled.width,
            height: settled.height,
            steps: settled.timesteps.len(),
            scheduler: settled.scheduler,
            eta: settled.eta,
            guidance: settled.guidance,
        })
    }

    /// What a picture's file says of it.
    pub(crate) fn text(&self, request: &Request, lora: bool) -> Result<Vec<TextChunk>, Refusal> {
        let provenance = self.pipeline(lora)?.provenance(request)?;
        let provenance = if lora { provenance.with_weights(self.weights.clone()) } else { provenance };
        Ok(match self.recipe {
            Some(recipe) if lora => provenance.with_recipe(recipe.name),
            _ => provenance,
        }
        .text_chunks())
    }
}

/// A picture for a ControlNet that is not to be asked.
fn silent() -> Control {
    let mut control = Control::new(Image::from_rgb8(8, 8, vec![0; 192]).expect("a small picture"));
    control.strength.scale = 0.0;
    control
}

/// What a client is told that a source is: not where it lies.
fn name(source: Option<&Source>, demo: &str) -> String {
    let path = source.and_then(Source::as_path);
    let name = path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.map_or_else(|| demo.into(), |name| name.trim_end_matches(".safetensors").into())
}

/// The model and everything that is added to it.
fn opened(options: &Options, loras: bool) -> Result<PipelineBuilder, hypersd::Error> {
    let bar = ProgressBar::hidden();
    let locate = |given: &Path| hub::locate(given, options.variant.as_deref(), &bar);
    let model = options.model.as_ref().unwrap_or(&Source::Demo);
    let opened = Pipeline::open(model.location(hypersd_demo::model, locate)?)?;
    let mut builder = opened.on_notice(|notice| tracing::info!("{notice}"));
    if options.lenient {
        builder = builder.lenient();
    }
    if let Some(variant) = &options.variant {
        builder = builder.variant(variant);
    }
    if let Some(unet) = &options.unet {
        builder = builder.unet(unet.location(|| hypersd_demo::model().join("unet"), locate)?)?;
    }
    if let Some(vae) = &options.vae {
        builder = builder.vae(vae.location(|| hypersd_demo::model().join("vae"), locate)?)?;
    }
    for controlnet in &options.controlnets {
        builder = builder.controlnet(controlnet.location(hypersd_demo::controlnet, locate)?)?;
    }
    for lora in options.loras.iter().filter(|_| loras) {
        builder = builder.lora(lora.source.location(hypersd_demo::hyper_lora, locate)?, lora.weight)?;
    }
    Ok(builder)
}
