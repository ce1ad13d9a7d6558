//! From a request and the model's scheduler configuration to a schedule.

use hypersd_core::Component;
use hypersd_schedulers::{Algorithm, Schedule, Scheduler, SchedulerConfig};

use crate::{Error, Request};

const FILE: &str = "scheduler_config.json";

/// What the model's `scheduler_config.json` says.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    config: SchedulerConfig,
    /// Where it was read.
    origin: String,
}

impl Sampling {
    /// Reads the `scheduler` component; a model without one gets what all Stable Diffusion models share.
    pub(crate) fn open(component: Option<&Component>) -> Result<Self, Error> {
        let origin = component.map_or_else(
            || "the scheduler configuration of Stable Diffusion".to_string(),
            |component| component.path().join(FILE).display().to_string(),
        );
        let text = component.map(|component| component.text(FILE)).transpose()?.flatten();
        let config = match text {
            Some(text) => SchedulerConfig::from_json(&text).map_err(Error::config(&origin))?,
            None => SchedulerConfig::stable_diffusion(),
        };
        Ok(Self { config, origin })
    }

    /// The class that the model's configuration was saved from.
    pub(crate) fn class_name(&self) -> Option<&str> {
        self.config.class_name.as_deref()
    }

    /// The model's own algorithm where it is one of ours, else DDIM.
    pub(crate) fn default_algorithm(&self) -> Algorithm {
        Algorithm::of(&self.config).unwrap_or(Algorithm::Ddim)
    }

    /// The steps that a request asks for.
    pub(crate) fn schedule(&self, request: &Request) -> Result<Schedule, Error> {
        let algorithm = request.scheduler.unwrap_or_else(|| self.default_algorithm());
        let config = SchedulerConfig {
            timestep_spacing: request.spacing.or(self.config.timestep_spacing),
            use_karras_sigmas: request.karras.or(self.config.use_karras_sigmas),
            ..self.config.clone()
        };
        let scheduler = Scheduler::new(algorithm, &config).map_err(Error::config(&self.origin))?;
        Ok(scheduler.schedule(&request.steps, request.eta.unwrap_or(0.0), None)?)
    }
}
