//! A loaded model.

use std::sync::Arc;

use hypersd::Request;
use js_sys::{Error, Function};
use serde::Serialize;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    Denoising, Files, Picture,
    error::js,
    object::read_or_default,
    open::{OpenOptions, Opened},
    request::Settled,
};

/// A loaded model. Everything it does is done before a call returns, so it belongs into a worker.
#[wasm_bindgen]
pub struct Pipeline {
    pipeline: Arc<hypersd::Pipeline>,
    settled: Settled,
    info: Info,
}

/// What a page has to know of a model; `ModelInfo` of `types.ts`.
#[derive(Serialize)]
struct Info {
    family: String,
    width: usize,
    height: usize,
    controlnets: usize,
    recipe: Option<Defaults>,
    loras: Vec<String>,
}

/// What a recipe sets where a request says nothing, and the steps that it allows.
#[derive(Serialize)]
struct Defaults {
    name: &'static str,
    scheduler: String,
    steps: [usize; 3],
    eta: Option<[f64; 3]>,
    guidance: [f64; 3],
}

#[wasm_bindgen]
impl Pipeline {
    /// Opens and loads a model.
    ///
    /// # Errors
    /// A JavaScript `Error` that says what was found, what was expected and what to do.
    pub fn open(
        files: &Files,
        #[wasm_bindgen(unchecked_optional_param_type = "OpenOptions")] options: JsValue,
    ) -> Result<Self, Error> {
        let options: OpenOptions = read_or_default("options", options)?;
        let Opened { pipeline, recipe, controlnets, family } = options.open(files).map_err(js)?;
        let own = Settled { recipe, controlnets, size: [0; 2] };
        let native = pipeline.provenance(&Request::default()).map_err(js)?;
        let settled = Settled { size: [native.width, native.height], ..own };
        let info = Info {
            family: family.to_string(),
            width: native.width,
            height: native.height,
            controlnets,
            recipe: recipe.as_ref().map(Defaults::of),
            loras: pipeline.lora_reports().iter().map(ToString::to_string).collect(),
        };
        Ok(Self { pipeline: Arc::new(pipeline), settled, info })
    }

    /// What is known of the model.
    ///
    /// # Errors
    /// None: it is an object of text and numbers.
    #[wasm_bindgen(unchecked_return_type = "ModelInfo")]
    pub fn info(&self) -> Result<JsValue, Error> {
        self.info.serialize(&serde_wasm_bindgen::Serializer::json_compatible()).map_err(js)
    }

    /// Draws a picture. `onStep` is called after each step but the last, and stops the drawing by returning false.
    ///
    /// # Errors
    /// A JavaScript `Error` for a request that cannot be right, and what `onStep` throws.
    pub fn draw(
        &self,
        #[wasm_bindgen(unchecked_param_type = "DrawRequest")] request: JsValue,
        #[wasm_bindgen(js_name = onStep, unchecked_optional_param_type = "(step: Step) => boolean | void")]
        on_step: Option<Function>,
    ) -> Result<Option<Picture>, Error> {
        let mut denoising = self.denoise(request)?;
        while let Some(step) = denoising.step()? {
            if step.is_last() {
                break;
            }
            if let Some(on_step) = &on_step
                && on_step.call1(&JsValue::UNDEFINED, &step.into())? == JsValue::FALSE
            {
                return Ok(None);
            }
        }
        denoising.picture().map(Some)
    }

    /// Begins a picture, to be drawn a step at a time.
    ///
    /// # Errors
    /// A JavaScript `Error` for a request that cannot be right.
    pub fn denoise(
        &self,
        #[wasm_bindgen(unchecked_param_type = "DrawRequest")] request: JsValue,
    ) -> Result<Denoising, Error> {
        Denoising::begin(self.pipeline.clone(), self.settled.request(request)?)
    }
}

impl Defaults {
    fn of(recipe: &hypersd::Recipe) -> Self {
        fn range<T>(allowed: hypersd::Allowed<T>) -> [T; 3] {
            [allowed.least, allowed.most, allowed.default]
        }
        Self {
            name: recipe.name,
            scheduler: recipe.scheduler.to_string(),
            steps: range(recipe.steps),
            eta: recipe.eta.map(range),
            guidance: range(recipe.guidance),
        }
    }
}
