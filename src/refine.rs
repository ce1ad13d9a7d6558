//! How a second model refines what the first has drawn: plain data, checked before anything heavy is done.

use crate::{Error, start::refuse};

/// The share of a drawing that is a refiner's, and what it is told of how good the picture shall look. Only read with a
/// [refiner](crate::PipelineBuilder::refiner), or where the model itself is SDXL's refiner.
///
/// ```no_run
/// use hypersd::{Pipeline, Refine, Request, Steps};
///
/// let pipeline = Pipeline::open("stable-diffusion-xl-base-1.0")?
///     .refiner("sd_xl_refiner_1.0.safetensors")?
///     .load(&hypersd::Device::flex())?;
/// let images = pipeline.generate(&Request {
///     prompt: "a majestic lion jumping from a big stone at night".into(),
///     steps: Steps::Count(25),
///     guidance: 5.0,
///     refine: Some(Refine { switch_at: 0.7, ..Refine::default() }),
///     ..Request::default()
/// })?;
/// # Ok::<(), hypersd::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refine {
    /// The share of the noise schedule, above 0 and below 1, at which the refiner takes over: the base takes the steps at
    /// timesteps from `round(T · (1 − switch_at))` up, of T = 1000, and the refiner those below (diffusers' `denoising_end`
    /// and `denoising_start`). By default 0.8: the last fifth.
    pub switch_at: f64,
    /// The score that SDXL's refiner is told with the prompt; by default 6.
    pub aesthetic_score: f64,
    /// The score that it is told with the negative prompt; by default 2.5.
    pub negative_aesthetic_score: f64,
}

impl Default for Refine {
    /// diffusers' values, and the share that SDXL's refiner was trained on.
    fn default() -> Self {
        Self { switch_at: 0.8, aesthetic_score: 6.0, negative_aesthetic_score: 2.5 }
    }
}

impl Refine {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(self.switch_at > 0.0 && self.switch_at < 1.0) {
            return Err(refuse("switch at", "a number above 0 and below 1", self.switch_at));
        }
        for score in [self.aesthetic_score, self.negative_aesthetic_score] {
            if !(score as f32).is_finite() {
                return Err(refuse("aesthetic score", "a finite number", score));
            }
        }
        Ok(())
    }
}
