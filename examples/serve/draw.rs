//! What a client may say of a picture, and the request that it comes to.

use hypersd::{Algorithm, Canny, Control, Mask, Prompt, Request, Start, StartStrength, Steps, Strength};
use serde::Deserialize;

use crate::{
    options::Limits,
    pictures::Picture,
    refusal::Refusal,
    studio::{Settled, Studio},
};

/// A picture that is asked for by the WebSocket and by jobs; the other interfaces come to the same. All is optional, and what is
/// not said is as the server's recipe, or its model, has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Draw {
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    /// A1111's weights in the prompts.
    pub(crate) weighted: bool,
    pub(crate) seed: Option<u64>,
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    pub(crate) steps: Option<usize>,
    pub(crate) eta: Option<f64>,
    pub(crate) guidance: Option<f64>,
    pub(crate) scheduler: Option<String>,
    pub(crate) control: Option<Controls>,
    pub(crate) image: Option<Picture>,
    pub(crate) strength: Option<f64>,
    pub(crate) noise_level: Option<f64>,
    pub(crate) mask: Option<Picture>,
    /// False for the model without its LoRAs.
    pub(crate) lora: bool,
}

impl Default for Draw {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: None,
            weighted: false,
            seed: None,
            width: None,
            height: None,
            steps: None,
            eta: None,
            guidance: None,
            scheduler: None,
            control: None,
            image: None,
            strength: None,
            noise_level: None,
            mask: None,
            lora: true,
        }
    }
}

/// One, or one for each ControlNet.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Controls {
    One(Box<Guide>),
    Several(Vec<Guide>),
}

/// What a ControlNet is shown.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Guide {
    #[serde(flatten)]
    picture: Picture,
    scale: Option<f32>,
    start: Option<f64>,
    end: Option<f64>,
    canny: Option<[f64; 2]>,
}

/// A request that is within the limits, and what it comes to.
pub(crate) struct Checked {
    pub(crate) request: Request,
    pub(crate) lora: bool,
    pub(crate) settled: Settled,
}

/// The pictures that a drawing starts from, decoded.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) image: Option<hypersd::Image>,
    pub(crate) mask: Option<Mask>,
}

impl Draw {
    /// The request, with pictures from the parts of its message.
    pub(crate) fn check(
        &self,
        studio: &Studio,
        limits: &Limits,
        parts: &[&[u8]],
    ) -> Result<Checked, Refusal> {
        let image = self.image.as_ref().map(|picture| picture.image("image", parts)).transpose()?;
        let mask = self.mask.as_ref().map(|picture| picture.image("mask", parts)).transpose()?;
        let given = Given { image, mask: mask.map(Mask::new) };
        let controls = self.controls(studio, parts)?;
        self.check_with(studio, limits, given, controls)
    }

    /// The same with pictures from elsewhere.
    pub(crate) fn check_with(
        &self,
        studio: &Studio,
        limits: &Limits,
        given: Given,
        controls: Vec<Control>,
    ) -> Result<Checked, Refusal> {
        let base = studio.request();
        let steps = self.steps.map(Steps::Count).unwrap_or(base.steps);
        // Before a schedule is made of it.
        if let Steps::Count(count) = steps
            && count > limits.steps
        {
            return Err(Refusal::of("steps", format_args!("at most {}", limits.steps), count));
        }
        let scheduler = self.scheduler.as_deref().map(str::parse::<Algorithm>).transpose();
        let request = Request {
            prompt: self.text("prompt", &self.prompt)?,
            negative: self
                .negative_prompt
                .as_ref()
                .map(|text| self.text("negative_prompt", text))
                .transpose()?,
            seed: self.seed.unwrap_or(0),
            width: self.width,
            height: self.height,
            scheduler: scheduler.map_err(hypersd::Error::from)?.or(base.scheduler),
            eta: self.eta.or(base.eta),
            guidance: self.guidance.unwrap_or(base.guidance),
            start: self.start(given, &steps)?,
            controls,
            steps,
            ..base
        };
        let request = studio.complete(request);
        let settled = studio.settled(&request, self.lora)?;
        let pixels = settled.width.saturating_mul(settled.height);
        if pixels > limits.pixels {
            let found = format_args!("{}x{}", settled.width, settled.height);
            return Err(Refusal::of("size", format_args!("at most {} pixels", limits.pixels), found));
        }
        Ok(Checked { request, lora: self.lora, settled })
    }

    fn text(&self, what: &str, text: &str) -> Result<Prompt, Refusal> {
        if text.len() > Limits::PROMPT {
            return Err(Refusal::of(what, format_args!("at most {} bytes", Limits::PROMPT), text.len()));
        }
        Ok(if self.weighted { Prompt::weighted(text) } else { text.into() })
    }

    fn start(&self, Given { image, mask }: Given, steps: &Steps) -> Result<Start, Refusal> {
        let Some(image) = image else {
            return match mask {
                Some(_) => Err(Refusal::of("mask", "an image beside it", "none")),
                None => Ok(Start::Noise),
            };
        };
        let strength = match (self.strength, self.noise_level) {
            (Some(_), Some(_)) => {
                return Err(Refusal::of("noise_level", "none beside a strength", "both"));
            }
            (Some(share), None) => StartStrength::Share(share),
            (None, Some(level)) => StartStrength::Level(level),
            (None, None) if mask.is_some() => StartStrength::Share(1.0),
            // Of one step no share is left.
            (None, None) if matches!(steps, Steps::Count(0..=1)) => StartStrength::Level(0.8),
            (None, None) => StartStrength::default(),
        };
        Ok(match mask {
            Some(mask) => Start::Masked { images: vec![image], mask, strength },
            None => Start::picture(image, strength),
        })
    }

    fn controls(&self, studio: &Studio, parts: &[&[u8]]) -> Result<Vec<Control>, Refusal> {
        let guides = match &self.control {
            None => &[],
            Some(Controls::One(guide)) => std::slice::from_ref(&**guide),
            Some(Controls::Several(guides)) => &guides[..],
        };
        let most = studio.about.controlnets;
        if guides.len() > most {
            let expected = format_args!("at most {most}, one for each ControlNet of the server");
            return Err(Refusal::of("control", expected, guides.len()));
        }
        guides.iter().map(|guide| guide.control(parts)).collect()
    }
}

impl Guide {
    fn control(&self, parts: &[&[u8]]) -> Result<Control, Refusal> {
        let mut image = self.picture.image("control", parts)?;
        if let Some([low, high]) = self.canny {
            let canny = Canny { low, high, ..Canny::default() };
            image = canny.edges(&image).map_err(|error| Refusal::of("canny", "two thresholds", error))?;
        }
        let own = Strength::default();
        let strength = Strength {
            scale: self.scale.unwrap_or(own.scale),
            start: self.start.unwrap_or(own.start),
            end: self.end.unwrap_or(own.end),
            ..own
        };
        Ok(Control { strength, ..Control::new(image) })
    }
}
