//! What a page asks for, as the library asks it.

use hypersd::{
    Algorithm, Canny, Control, Image, Mask, Prompt, Recipe, Request, Start, StartStrength, Steps, Strength,
};
use js_sys::{Array, Error};
use serde::Deserialize;
use wasm_bindgen::JsValue;

use crate::{
    error::{argument, js},
    object::{is_nothing, read, read_or_default},
    picture::image_of,
};

/// Share of the noise that a picture is taken to where nothing is said: of few steps a share of them leaves none.
const LEVEL: f64 = 0.8;

/// A request; `DrawRequest` of `types.ts`. Its members are those of the server's protocol (docs/server.md), so that a page asks
/// both for the same.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct DrawRequest {
    prompt: String,
    negative_prompt: Option<String>,
    weighted: bool,
    seed: f64,
    width: Option<f64>,
    height: Option<f64>,
    steps: Option<f64>,
    eta: Option<f64>,
    guidance: Option<f64>,
    scheduler: Option<String>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    control: JsValue,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    image: JsValue,
    strength: Option<f64>,
    noise_level: Option<f64>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    mask: JsValue,
}

impl Default for DrawRequest {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: None,
            weighted: false,
            seed: 0.0,
            width: None,
            height: None,
            steps: None,
            eta: None,
            guidance: None,
            scheduler: None,
            control: JsValue::UNDEFINED,
            image: JsValue::UNDEFINED,
            strength: None,
            noise_level: None,
            mask: JsValue::UNDEFINED,
        }
    }
}

/// A picture that guides; `ControlInput` of `types.ts`.
#[derive(Debug, Deserialize)]
struct ControlInput {
    #[serde(with = "serde_wasm_bindgen::preserve")]
    image: JsValue,
    #[serde(default = "one")]
    scale: f32,
    #[serde(default)]
    start: f64,
    #[serde(default = "all")]
    end: f64,
    canny: Option<[f64; 2]>,
}

fn one() -> f32 {
    1.0
}

fn all() -> f64 {
    1.0
}

/// A whole number that JavaScript's numbers hold exactly.
fn whole(name: &str, number: f64) -> Result<u64, Error> {
    const MOST: f64 = (1_u64 << 53) as f64;
    match (0.0..=MOST).contains(&number) && number.fract() == 0.0 {
        true => Ok(number as u64),
        false => Err(argument(name, "a whole number from 0 to 2^53", number)),
    }
}

/// The same of something that is counted in memory.
fn size(name: &str, number: Option<f64>) -> Result<Option<usize>, Error> {
    let size = number.map(|number| whole(name, number)).transpose()?;
    Ok(size.map(|size| usize::try_from(size).unwrap_or(usize::MAX)))
}

/// The model that requests are for: what they leave open.
pub(crate) struct Settled {
    pub(crate) recipe: Option<Recipe>,
    pub(crate) controlnets: usize,
    /// Width and height of a picture of the model's own size.
    pub(crate) size: [usize; 2],
}

impl Settled {
    /// The library's request.
    pub(crate) fn request(&self, value: JsValue) -> Result<Request, Error> {
        let asked: DrawRequest = read_or_default("request", value)?;
        let prompt = |text: &str| match asked.weighted {
            true => Prompt::weighted(text),
            false => Prompt::from(text),
        };
        let request = match &self.recipe {
            Some(recipe) => recipe.request(prompt(&asked.prompt)),
            None => Request { prompt: prompt(&asked.prompt), ..Request::default() },
        };
        let mut request = Request {
            negative: asked.negative_prompt.as_deref().map(prompt),
            seed: whole("seed", asked.seed)?,
            width: size("width", asked.width)?,
            height: size("height", asked.height)?,
            eta: asked.eta.or(request.eta),
            guidance: asked.guidance.unwrap_or(request.guidance),
            start: start(&asked)?,
            controls: self.controls(&asked.control)?,
            ..request
        };
        if let Some(steps) = size("steps", asked.steps)? {
            request.steps = Steps::Count(steps);
        }
        if let Some(name) = &asked.scheduler {
            let scheduler: Algorithm = name.parse().map_err(js)?;
            request.scheduler = Some(scheduler);
        }
        if is_nothing(&asked.control) && is_nothing(&asked.image) {
            // The size would else be that of what stands for nothing.
            let [width, height] = self.size;
            request.width = request.width.or(Some(width));
            request.height = request.height.or(Some(height));
        }
        Ok(request)
    }

    /// A picture for each of the ControlNets. To those that are shown nothing, blackness is shown, and no weight is given to what
    /// they say.
    fn controls(&self, control: &JsValue) -> Result<Vec<Control>, Error> {
        let given: Vec<JsValue> = match control {
            nothing if is_nothing(nothing) => Vec::new(),
            list if Array::is_array(list) => Array::from(list).iter().collect(),
            one => vec![one.clone()],
        };
        if given.len() > self.controlnets {
            return Err(argument(
                "control",
                &format!("at most {}, one for each ControlNet", self.controlnets),
                given.len(),
            ));
        }
        let mut controls = given.into_iter().map(guided).collect::<Result<Vec<_>, _>>()?;
        while controls.len() < self.controlnets {
            let black = Image::from_rgb8(8, 8, vec![0; 192]).map_err(js)?;
            let strength = Strength { scale: 0.0, ..Strength::default() };
            controls.push(Control { strength, ..Control::new(black) });
        }
        Ok(controls)
    }
}

/// What one ControlNet is shown.
fn guided(value: JsValue) -> Result<Control, Error> {
    let ControlInput { image, scale, start, end, canny } = read("control", value)?;
    let mut image = image_of("control", &image)?;
    if let Some([low, high]) = canny {
        image = Canny { low, high, ..Canny::default() }.edges(&image).map_err(js)?;
    }
    let strength = Strength { scale, start, end, ..Strength::default() };
    Ok(Control { strength, ..Control::new(image) })
}

/// What drawing starts from.
fn start(asked: &DrawRequest) -> Result<Start, Error> {
    let strength = match (asked.strength, asked.noise_level) {
        (Some(_), Some(_)) => return Err(argument("strength", "one of strength and noise_level", "both")),
        (Some(share), None) => StartStrength::Share(share),
        (None, level) => StartStrength::Level(level.unwrap_or(LEVEL)),
    };
    match (!is_nothing(&asked.image), !is_nothing(&asked.mask)) {
        (false, false) => Ok(Start::Noise),
        (false, true) => Err(argument("mask", "an image beside it, of which it says the part", "none")),
        (true, false) => Ok(Start::picture(image_of("image", &asked.image)?, strength)),
        (true, true) => Ok(Start::Masked {
            images: vec![image_of("image", &asked.image)?],
            mask: Mask::new(image_of("mask", &asked.mask)?),
            strength,
        }),
    }
}
