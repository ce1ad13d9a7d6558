//! From a request and the model's scheduler configuration to a schedule.

use hypersd_core::{Component, Location};
use hypersd_models::{Prediction, Profile, SingleFile};
use hypersd_schedulers::{
    Algorithm, ClassNoise, Correction, Error as SchedulerError, PredictionType, Schedule, Scheduler,
    SchedulerConfig, Spacing, Steps,
};

use crate::{
    Error, Request, StartStrength,
    notice::{Notice, Notices},
    start::{leaves_no_step, refuse},
};

const FILE: &str = "scheduler_config.json";

/// What to do about a scheduler whose models take other noise.
const OTHER_MODEL: &str =
    "no scheduler here draws from such a model; use a Stable Diffusion 1.x, 2.x or XL model";
/// What to do about a scheduler of which nothing is known.
const NAME_ONE: &str = "name one of these here, if the model was trained for noise as they take it";

/// The model's `scheduler_config.json`, or its family's.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    config: SchedulerConfig,
    /// The file it was read from, for messages.
    origin: String,
    /// True where anything says what the denoiser predicts. If not, the request has to.
    prediction_known: bool,
    /// True where diffusers' pipelines of the family set right what a configuration has for models of pixels.
    corrects: bool,
}

impl Sampling {
    /// Reads the `scheduler` component; a model without one gets what all Stable Diffusion models share.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for the configuration of a class whose models take noise otherwise than any algorithm here.
    pub(crate) fn open(profile: &Profile, component: Option<&Component>) -> Result<Self, Error> {
        let origin = component.map_or_else(
            || "the scheduler configuration of Stable Diffusion".to_string(),
            |component| component.location().join(FILE).to_string(),
        );
        let text = component.map(|component| component.text(FILE)).transpose()?.flatten();
        let mut config = match text {
            Some(text) => SchedulerConfig::from_json(&text).map_err(Error::config(&origin))?,
            None => SchedulerConfig::stable_diffusion(),
        };
        // Where the model's index and the file name two classes, the index's is built, as diffusers does it.
        if let Some(class) = component.and_then(Component::class_name) {
            config.class_name = Some(class.into());
        }
        let corrects = profile.corrects_scheduler;
        let sampling = Self { config, origin, prediction_known: true, corrects };
        match sampling.config.class_noise() {
            ClassNoise::Other(whose) => Err(sampling.foreign(&format!("is of {whose}"), OTHER_MODEL)),
            _ => Ok(sampling),
        }
    }

    /// A model in one file has no configuration: the family's, with what the file says of its training.
    pub(crate) fn of_file(profile: &Profile, file: &SingleFile, location: &Location) -> Self {
        let config = SchedulerConfig {
            class_name: profile.scheduler.map(String::from),
            timestep_spacing: Some(Spacing::Leading),
            ..SchedulerConfig::stable_diffusion()
        };
        let prediction_known = file.prediction.is_some();
        let mut sampling = Self { config, origin: location.to_string(), prediction_known, corrects: false };
        sampling.heed(file);
        sampling
    }

    /// Takes over what a file with a UNet says of its training: that it predicts velocity, down to a signal-to-noise
    /// ratio of zero. A file that says nothing leaves the configuration as it is.
    pub(crate) fn heed(&mut self, file: &SingleFile) {
        if file.prediction == Some(Prediction::Velocity) {
            self.config.prediction_type = Some(PredictionType::VPrediction);
            self.prediction_known = true;
        }
        if file.zero_snr {
            self.config.rescale_betas_zero_snr = Some(true);
        }
    }

    /// The class that the model's configuration was saved from.
    pub(super) fn class_name(&self) -> Option<&str> {
        self.config.class_name.as_deref()
    }

    /// True where the model's own algorithm is one of ours.
    pub(super) fn has_own_algorithm(&self) -> bool {
        Algorithm::of(&self.config).is_ok()
    }

    /// Says what is set right of the configuration for a request, and what diffusers leaves wrong.
    pub(super) fn tell(&self, request: &Request, notices: &Notices) {
        let (config, corrections) = self.corrected(request);
        let origin = || self.origin.clone();
        for Correction { field, found, used, .. } in corrections {
            notices.give(Notice::SchedulerCorrected { origin: origin(), field, found, used });
        }
        let algorithm = self.algorithm(request);
        if config.clips(algorithm) {
            notices.give(Notice::LatentsClipped { algorithm, origin: origin() });
        }
    }

    fn corrected(&self, request: &Request) -> (SchedulerConfig, Vec<Correction>) {
        let config = self.config.clone();
        match (request.for_latents, self.corrects) {
            (true, _) => {
                let (config, corrections) = config.for_latents(true);
                (SchedulerConfig { clip_sample: Some(false), ..config }, corrections)
            }
            (false, true) => config.for_latents(request.scheduler.is_none()),
            (false, false) => (config, Vec::new()),
        }
    }

    /// The error for a configuration whose class none of ours stands in for.
    fn foreign(&self, found: &str, instead: &str) -> Error {
        Error::Unsupported {
            origin: self.origin.clone(),
            found: format!("the scheduler {} {found}", self.class_name().unwrap_or_default()),
            instead: instead.into(),
        }
    }

    /// The algorithm of a request that names one, else the model's own where it is one of ours, else DDIM.
    pub(super) fn algorithm(&self, request: &Request) -> Algorithm {
        request.scheduler.or_else(|| Algorithm::of(&self.config).ok()).unwrap_or(Algorithm::Ddim)
    }

    /// A request with what it leaves to the configuration written out.
    pub(crate) fn settled(&self, request: &Request) -> Request {
        Request {
            scheduler: Some(self.algorithm(request)),
            spacing: request.spacing.or(self.config.timestep_spacing),
            ..request.clone()
        }
    }

    /// The steps that a request asks for.
    pub(super) fn schedule(&self, request: &Request) -> Result<Schedule, Error> {
        steps(&self.scheduler(request)?, request)
    }

    /// The same for a model and for the refiner that takes over from it, which may predict another quantity; and the number
    /// of steps of both, as the request counts them.
    pub(super) fn shared_schedule(
        &self,
        request: &Request,
        prediction: PredictionType,
    ) -> Result<(Schedule, Schedule, usize), Error> {
        let share = request.refine.unwrap_or_default().switch_at;
        let scheduler = self.scheduler(request)?;
        let timestep = scheduler.timestep_after(share);
        let whole = steps(&scheduler, request)?;
        let count = whole.count();
        let (first, _) = whole.split(timestep);
        let refined = Request { prediction: Some(prediction), ..request.clone() };
        let (_, second) = self.schedule(&refined)?.split(timestep);
        if second.steps.is_empty() || (first.steps.is_empty() && request.start.strength().is_none()) {
            return Err(no_share(request, share, timestep));
        }
        Ok((first, second, count))
    }

    /// What the model predicts as far as files say it, else the noise.
    pub(crate) fn prediction(&self) -> PredictionType {
        self.config.prediction_type.unwrap_or(PredictionType::Epsilon)
    }

    /// The scheduler of a request, with what that leaves to the configuration.
    fn scheduler(&self, request: &Request) -> Result<Scheduler, Error> {
        if !self.prediction_known && request.prediction.is_none() {
            return Err(Error::Request {
                option: "prediction",
                expected: format!(
                    "epsilon or v, because {} does not say what the UNet predicts",
                    self.origin
                ),
                found: "none".into(),
            });
        }
        if request.scheduler.is_none() && self.config.class_noise() == ClassNoise::Unknown {
            return Err(self.foreign("is not known", NAME_ONE));
        }
        let config = SchedulerConfig {
            timestep_spacing: request.spacing.or(self.config.timestep_spacing),
            use_karras_sigmas: request.karras.or(self.config.use_karras_sigmas),
            prediction_type: request.prediction.or(self.config.prediction_type),
            rescale_betas_zero_snr: request.zero_snr.or(self.config.rescale_betas_zero_snr),
            original_inference_steps: request.original_steps.or(self.config.original_inference_steps),
            shifted_timestep: request.timestep_shift.or(self.config.shifted_timestep),
            ..self.corrected(request).0
        };
        let algorithm = self.algorithm(request);
        check_zero_snr(request, algorithm)?;
        check_distilled(request, algorithm, self.config.num_train_timesteps.unwrap_or(1000))?;
        Scheduler::new(algorithm, &config).map_err(Error::config(&self.origin))
    }
}

/// The error for a share of the noise schedule at which base or refiner have no step.
fn no_share(request: &Request, share: f64, timestep: f32) -> Error {
    let found = format_args!("{share}, which is at timestep {timestep}, with {}", request.steps);
    let expected =
        "a share with a step before it for the base and one after it for the refiner: another, or more steps";
    refuse("switch at", expected, found)
}

/// The steps that a request takes of a scheduler: all of them, or those that its start leaves.
fn steps(scheduler: &Scheduler, request: &Request) -> Result<Schedule, Error> {
    let eta = request.eta.unwrap_or(0.0);
    match (request.start.strength(), &request.steps) {
        (None, steps) => Ok(scheduler.schedule(steps, eta, None)?),
        // The list is cut, whatever the scheduler: diffusers' pipelines of these families do not tell TCD and LCM.
        (Some(StartStrength::Share(share)), steps) => {
            let whole = scheduler.schedule(steps, eta, None)?;
            let count = whole.count();
            whole.tail(share).map_err(|error| match error {
                SchedulerError::Strength { .. } => leaves_no_step(count, share),
                error => error.into(),
            })
        }
        (Some(StartStrength::Level(level)), Steps::Count(count)) => {
            scheduler.schedule_below(level, *count, eta).map_err(|error| match error {
                SchedulerError::TimestepsRefused { algorithm, .. } => {
                    let expected = "a scheduler that takes any timesteps beside it (tcd, lcm, ddim, euler and others), or a strength";
                    refuse("noise level", expected, format_args!("{algorithm}, whose timesteps follow from their number"))
                }
                error => error.into(),
            })
        }
        (Some(StartStrength::Level(_)), steps) => {
            Err(refuse("noise level", "a number of steps beside it, whose timesteps follow from it", steps))
        }
    }
}

/// Refuses a schedule down to pure noise for an algorithm that would pass it over.
fn check_zero_snr(request: &Request, algorithm: Algorithm) -> Result<(), Error> {
    if request.zero_snr == Some(true) && !algorithm.has_zero_snr() {
        let found = format_args!("{algorithm}, which has no such schedule");
        return Err(refuse("zero_snr", "another scheduler beside it", found));
    }
    Ok(())
}

/// Checks what is said of a distillation: that the scheduler reads it, and that it is among the timesteps of training.
fn check_distilled(request: &Request, algorithm: Algorithm, train_steps: usize) -> Result<(), Error> {
    for (option, given, readers) in [
        ("original_steps", request.original_steps, &[Algorithm::Lcm, Algorithm::Tcd][..]),
        ("timestep_shift", request.timestep_shift, &[Algorithm::Lcm]),
    ] {
        let Some(given) = given else { continue };
        let refuse = |expected: String, found: String| Err(Error::Request { option, expected, found });
        if !readers.contains(&algorithm) {
            let names: Vec<_> = readers.iter().map(|reader| reader.name()).collect();
            return refuse(format!("scheduler {} beside it", names.join(" or ")), algorithm.to_string());
        }
        if !(1..=train_steps).contains(&given) {
            return refuse(format!("1 to {train_steps}"), given.to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_to_say_what_no_file_says() {
        let config = SchedulerConfig::stable_diffusion();
        let sampling =
            Sampling { config, origin: "sd2.safetensors".into(), prediction_known: false, corrects: false };
        let error = sampling.schedule(&Request::default()).expect_err("noise or velocity").to_string();
        assert!(error.contains("prediction") && error.contains("sd2.safetensors"), "{error}");
        for prediction in [PredictionType::Epsilon, PredictionType::VPrediction] {
            let request = Request { prediction: Some(prediction), ..Request::default() };
            assert_eq!(sampling.schedule(&request).expect("a schedule").steps.len(), 4);
        }
    }

    #[test]
    fn a_distillation_is_said_to_schedulers_that_read_it() {
        let config = SchedulerConfig::stable_diffusion();
        let sampling =
            Sampling { config, origin: "sdxl.safetensors".into(), prediction_known: true, corrects: false };
        let lcm = Request { scheduler: Some(Algorithm::Lcm), ..Request::default() };
        let timesteps = |request: &Request| -> Vec<f32> {
            sampling.schedule(request).expect("a schedule").steps.iter().map(|step| step.t).collect()
        };
        assert_eq!(timesteps(&lcm), [999.0, 759.0, 499.0, 259.0]);
        let original = Request { original_steps: Some(4), ..lcm.clone() };
        assert_eq!(timesteps(&original), [999.0, 749.0, 499.0, 249.0]);
        let shifted = Request { timestep_shift: Some(250), ..original };
        assert_eq!(timesteps(&shifted), [249.0, 187.0, 124.0, 62.0]);
        for (request, words) in [
            (Request { original_steps: Some(0), ..lcm.clone() }, ["original_steps", "1 to 1000", "0"]),
            (Request { timestep_shift: Some(1001), ..lcm }, ["timestep_shift", "1 to 1000", "1001"]),
            (Request { timestep_shift: Some(250), ..Request::default() }, ["timestep_shift", "lcm", "ddim"]),
        ] {
            let error = sampling.schedule(&request).expect_err("no such distillation").to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
