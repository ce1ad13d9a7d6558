//! From an algorithm, a configuration and a number of steps to the list of steps.

use crate::{
    Algorithm, Error, PredictionType, SchedulerConfig, Step, ddim, dpmpp, euler, lcm,
    settings::Settings,
    spacing::{check_timesteps, distilled},
    tcd,
};

/// How many steps, or which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steps {
    /// This many steps, at timesteps that the algorithm chooses.
    Count(usize),
    /// One step at each of these timesteps, strictly descending, all below T. Not for DDIM, Euler ancestral and
    /// Karras sigmas, whose timesteps follow from their number.
    Timesteps(Vec<usize>),
}

/// An algorithm with the noise levels of a configuration, ready to make schedules.
#[derive(Debug, Clone)]
pub struct Scheduler {
    settings: Settings,
}

impl Scheduler {
    /// Computes the noise levels. The configuration may have been written for any class.
    ///
    /// # Errors
    /// [`Error::Config`] for values that cannot be right, [`Error::Unsupported`] for those that mean something this
    /// crate does not compute.
    pub fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        Ok(Self { settings: Settings::new(algorithm, config)? })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.settings.algorithm
    }

    /// What the model's output is taken to mean.
    #[must_use]
    pub fn prediction_type(&self) -> PredictionType {
        self.settings.prediction
    }

    /// a_t (diffusers' `alphas_cumprod`) for every timestep of training.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.settings.alphas
    }

    /// The list of steps.
    ///
    /// `eta`, in `[0, 1]`, is the stochasticity of DDIM and TCD; the other algorithms ignore it, as diffusers'
    /// pipelines do. With a `strength`, in `(0, 1]`, the schedule starts late, for an image to start from: TCD and
    /// LCM choose their steps among the first part of the timesteps they were distilled on (diffusers'
    /// `set_timesteps(strength=...)`), everything else leaves out steps at the start ([`Schedule::tail`]).
    ///
    /// # Errors
    /// Any of [`Error::StepCount`], [`Error::Eta`], [`Error::Strength`], [`Error::TimestepsRefused`],
    /// [`Error::NoTimesteps`], [`Error::TimestepRange`], [`Error::NotDescending`], [`Error::NoSignal`],
    /// [`Error::NotFinite`].
    pub fn schedule(&self, steps: &Steps, eta: f64, strength: Option<f64>) -> Result<Schedule, Error> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Eta { given: eta });
        }
        let strength = strength.unwrap_or(1.0);
        check_strength(strength)?;
        let settings = &self.settings;
        match (settings.algorithm, steps) {
            (Algorithm::Ddim, Steps::Count(count)) => {
                let timesteps = ddim::timesteps(settings, *count)?;
                self.check_signal(&timesteps)?;
                Schedule::new(1.0, ddim::steps(settings, &timesteps, eta))?.tail(strength)
            }
            (Algorithm::Tcd | Algorithm::Lcm, Steps::Count(count)) => {
                self.distilled_schedule(&distilled(settings, *count, strength)?, eta)
            }
            (Algorithm::Tcd | Algorithm::Lcm, Steps::Timesteps(timesteps)) => {
                check_timesteps(timesteps, settings.train_steps())?;
                self.distilled_schedule(timesteps, eta)?.tail(strength)
            }
            (Algorithm::Euler | Algorithm::EulerAncestral, Steps::Count(count)) => {
                self.euler_schedule(&euler::Grid::of_count(settings, *count)?)?.tail(strength)
            }
            (Algorithm::Dpmpp2m, Steps::Count(count)) => {
                let grid = dpmpp::Grid::of_count(settings, *count)?;
                Schedule::new(1.0, dpmpp::steps(settings, &grid))?.tail(strength)
            }
            (algorithm @ (Algorithm::Ddim | Algorithm::EulerAncestral), Steps::Timesteps(_)) => {
                Err(Error::TimestepsRefused { algorithm, reason: "" })
            }
            (algorithm, Steps::Timesteps(_)) if settings.karras => {
                Err(Error::TimestepsRefused { algorithm, reason: " with use_karras_sigmas" })
            }
            (Algorithm::Euler, Steps::Timesteps(timesteps)) => {
                self.euler_schedule(&euler::Grid::of_timesteps(settings, timesteps)?)?.tail(strength)
            }
            (Algorithm::Dpmpp2m, Steps::Timesteps(timesteps)) => {
                let grid = dpmpp::Grid::of_timesteps(settings, timesteps.clone())?;
                Schedule::new(1.0, dpmpp::steps(settings, &grid))?.tail(strength)
            }
        }
    }

    fn distilled_schedule(&self, timesteps: &[usize], eta: f64) -> Result<Schedule, Error> {
        self.check_signal(timesteps)?;
        let steps = match self.settings.algorithm {
            Algorithm::Tcd => tcd::steps(&self.settings, timesteps, eta),
            _ => lcm::steps(&self.settings, timesteps),
        };
        Schedule::new(1.0, steps)
    }

    fn euler_schedule(&self, grid: &euler::Grid) -> Result<Schedule, Error> {
        Schedule::new(grid.init_noise_sigma(self.settings.spacing), euler::steps(&self.settings, grid))
    }

    /// An epsilon prediction says nothing about x0 where a is 0.
    fn check_signal(&self, timesteps: &[usize]) -> Result<(), Error> {
        let silent = timesteps.iter().find(|&&t| self.settings.alphas[t] == 0.0);
        match silent {
            Some(&t) if self.settings.prediction == PredictionType::Epsilon => Err(Error::NoSignal { t }),
            _ => Ok(()),
        }
    }
}

/// The steps from noise to image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// What standard normal noise is multiplied by to make the first latent: 1 except for the Euler family.
    pub init_noise_sigma: f32,
    /// The steps, noisiest first; one or more.
    pub steps: Vec<Step>,
}

impl Schedule {
    fn new(init_noise_sigma: f32, steps: Vec<Step>) -> Result<Self, Error> {
        match steps.iter().find(|step| !(step.x0.is_finite() && step.next.is_finite())) {
            Some(step) => Err(Error::NotFinite { t: step.t }),
            None => Ok(Self { init_noise_sigma, steps }),
        }
    }

    /// The last ⌊N·strength⌋ steps: what diffusers' image-to-image pipelines keep, for any algorithm.
    ///
    /// The image to start from enters by [`Step::add_noise`] of the first step left.
    ///
    /// # Errors
    /// [`Error::Strength`] if `strength` is outside `(0, 1]` or no step is left.
    pub fn tail(mut self, strength: f64) -> Result<Self, Error> {
        check_strength(strength)?;
        let kept = (self.steps.len() as f64 * strength) as usize;
        self.steps.drain(..self.steps.len() - kept);
        let first = self.steps.first_mut().ok_or(Error::Strength { given: strength })?;
        first.next = first.next.without_past();
        Ok(self)
    }
}

fn check_strength(given: f64) -> Result<(), Error> {
    if given > 0.0 && given <= 1.0 { Ok(()) } else { Err(Error::Strength { given }) }
}
