//! A request for pictures: plain data, checked before anything heavy is done.

use hypersd_core::Rng;
use hypersd_schedulers::{Algorithm, PredictionType, Spacing, Steps};

use crate::{Control, Error, Prompt, Refine, Start, start::refuse};

/// Most pictures of one request: beyond it their latents alone fill a machine's memory, and sizes overflow.
const MAX_BATCH: usize = 1024;

/// A request for pictures. Same request, same model, same device: same bytes.
///
/// ```
/// use hypersd::{Algorithm, Request, Steps};
///
/// // The unified Hyper-SD LoRA in one step.
/// let request = Request {
///     prompt: "a photo of a cat".into(),
///     scheduler: Some(Algorithm::Tcd),
///     steps: Steps::Count(1),
///     eta: Some(1.0),
///     seed: 7,
///     ..Request::default()
/// };
/// # assert_eq!(request.batch, 1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The text to draw, or its embeddings.
    pub prompt: Prompt,
    /// The text to steer away from, or its embeddings; only read when [`guidance`](Self::guidance) is above 1. `None` is diffusers'
    /// `negative_prompt=None`: the empty prompt for SD1.5.
    pub negative: Option<Prompt>,
    /// The seed of the noise. With [`Rng::TorchCpu`] it means what `torch.Generator("cpu")` makes of it.
    pub seed: u64,
    /// Whose noise the seed stands for.
    pub rng: Rng,
    /// Width in pixels, a multiple of the VAE's factor, 8; `None` is the start picture's, else the first control image's,
    /// rounded down to such a multiple, else the model's own.
    pub width: Option<usize>,
    /// Height in pixels, as the width.
    pub height: Option<usize>,
    /// Pictures of the same prompt, from one draw of noise (diffusers' `num_images_per_prompt`).
    pub batch: usize,
    /// `None` is the model's own scheduler where it is one of these, else DDIM.
    pub scheduler: Option<Algorithm>,
    /// The spacing of timesteps; `None` is what the model's configuration says. Hyper-SD's N-step LoRAs want
    /// [`Spacing::Trailing`].
    pub spacing: Option<Spacing>,
    /// True where Euler, Heun, DPM-Solver++ and UniPC space their sigmas as Karras et al. do; `None` is what the model's
    /// configuration says.
    pub karras: Option<bool>,
    /// The quantity that the UNet was trained to predict; `None` is what the model's files say. Needed where they do not
    /// say it, as with Stable Diffusion 2 in one file, or where they are wrong.
    pub prediction: Option<PredictionType>,
    /// True where the model's scheduler configuration is read as one for latents, whatever it leaves at what its class has for
    /// pixels: x0 is not clipped, and timesteps are offset by 1. A model's own scheduler is always taken so, where diffusers
    /// does it (Stable Diffusion 1.x and 2.x); one that the request names is built from the file as it stands, as in
    /// diffusers. Recipes set this.
    pub for_latents: bool,
    /// The number of steps, or their timesteps.
    pub steps: Steps,
    /// The number of steps that the model was distilled with, of whose timesteps LCM and TCD take theirs (diffusers'
    /// `original_inference_steps`); `None` is what the model's configuration says, else 50.
    pub original_steps: Option<usize>,
    /// The timestep that the noisiest stands for where the UNet is asked: NitroFusion's shift, for LCM. `None` is what the
    /// model's configuration says, else none.
    pub timestep_shift: Option<usize>,
    /// Stochasticity from 0 to 1, for DDIM and TCD; `None` is diffusers' pipeline default, 0.
    pub eta: Option<f64>,
    /// Classifier-free guidance scale. At or below 1 there is no unconditional pass (0 and 1 are the same).
    pub guidance: f64,
    /// The share, from 0 to 1, in which a guided prediction gets back the deviation of the prompt's own, against washed-out
    /// pictures of strong guidance (diffusers' `guidance_rescale`). Only read with guidance.
    pub guidance_rescale: f64,
    /// True where the betas are stretched until the last timestep is pure noise (`rescale_betas_zero_snr`), for models that
    /// were trained so; `None` is what the model's files say.
    pub zero_snr: Option<bool>,
    /// What drawing starts from.
    pub start: Start,
    /// Where the pipeline's refiner takes over, and what it is told; `None` is [`Refine::default`] where there is one.
    pub refine: Option<Refine>,
    /// The pictures that the pipeline's ControlNets are shown: one for each, in their order. Without a width and height the
    /// picture takes the first one's size, rounded down to multiples of 8.
    pub controls: Vec<Control>,
}

impl Default for Request {
    /// An empty prompt in four steps at guidance 0, seed 0, in the model's own size.
    fn default() -> Self {
        Self {
            prompt: Prompt::default(),
            negative: None,
            seed: 0,
            rng: Rng::TorchCpu,
            width: None,
            height: None,
            batch: 1,
            scheduler: None,
            spacing: None,
            karras: None,
            prediction: None,
            for_latents: false,
            steps: Steps::Count(4),
            original_steps: None,
            timestep_shift: None,
            eta: None,
            guidance: 0.0,
            guidance_rescale: 0.0,
            zero_snr: None,
            start: Start::Noise,
            refine: None,
            controls: Vec::new(),
        }
    }
}

impl Request {
    /// True where the guidance scale asks for an unconditional pass: only above 1, as in diffusers, where 0 and 1 mean the
    /// same.
    pub(crate) fn is_guided(&self) -> bool {
        let of_picture = match self.start {
            // As diffusers' InstructPix2Pix pipeline, which leaves guidance out altogether below 1.
            Start::Change { image_guidance, .. } => image_guidance >= 1.0,
            _ => true,
        };
        self.guidance > 1.0 && of_picture
    }

    /// Checks what needs no model: batch, guidance, the grammar of prompts, the start, the strength of controls.
    ///
    /// # Errors
    /// [`Error::Request`] naming the first field that cannot be right; [`Error::Prompt`].
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Err(refuse("batch", format!("at least 1 and at most {MAX_BATCH}"), self.batch));
        }
        if !(self.guidance as f32).is_finite() {
            return Err(refuse("guidance", "a finite number", self.guidance));
        }
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return Err(refuse("guidance rescale", "a number from 0 to 1", self.guidance_rescale));
        }
        self.start.check(self.batch)?;
        self.refine.as_ref().map_or(Ok(()), Refine::check)?;
        if matches!(self.start, Start::Change { .. }) && !self.controls.is_empty() {
            return Err(refuse("controls", "none beside a picture to change", self.controls.len()));
        }
        if self.controls.iter().any(|control| control.masked) && !matches!(self.start, Start::Masked { .. }) {
            return Err(refuse("masked control", "a start with a mask", "another"));
        }
        self.prompt.check()?;
        self.negative.as_ref().map_or(Ok(()), Prompt::check)?;
        for control in &self.controls {
            control.strength.validate()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: Request) -> &'static str {
        match request.check() {
            Err(Error::Request { option, .. }) => option,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused_by_name() {
        assert_eq!(refused(Request { batch: 0, ..Request::default() }), "batch");
        assert_eq!(refused(Request { batch: usize::MAX, ..Request::default() }), "batch");
        assert_eq!(refused(Request { guidance: f64::NAN, ..Request::default() }), "guidance");
        assert_eq!(refused(Request { guidance: 1e300, ..Request::default() }), "guidance");
        assert_eq!(refused(Request { guidance_rescale: 1.5, ..Request::default() }), "guidance rescale");
        assert_eq!(refused(Request { guidance_rescale: f64::NAN, ..Request::default() }), "guidance rescale");
    }

    #[test]
    fn the_default_request_is_right() {
        Request::default().check().expect("defaults");
    }
}
