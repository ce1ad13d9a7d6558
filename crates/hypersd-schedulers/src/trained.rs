//! The part of a configuration that every algorithm reads: how noisy the training was and what the model says. And
//! what every algorithm asks of a request.

use std::ops::RangeInclusive;

use crate::{
    Algorithm, BetaSchedule, Error, PredictionType, SchedulerConfig, Steps, alphas, config::check, refuse,
};

/// The noise that a model was trained with.
#[derive(Debug, Clone)]
pub(crate) struct Trained {
    /// Who reads it, for messages.
    pub(crate) algorithm: Algorithm,
    /// a_t for t in 0..T, the share of signal in the variance.
    pub(crate) alphas: Vec<f32>,
    pub(crate) prediction: PredictionType,
}

/// The betas of a diffusers class whose configuration says nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Betas {
    schedule: BetaSchedule,
    start: f64,
    end: f64,
}

impl Betas {
    pub(crate) const LINEAR: Self = Self { schedule: BetaSchedule::Linear, start: 0.0001, end: 0.02 };
    pub(crate) const LATENT_LINEAR: Self =
        Self { schedule: BetaSchedule::Linear, start: 0.00085, end: 0.012 };
    pub(crate) const SCALED: Self = Self { schedule: BetaSchedule::ScaledLinear, start: 0.00085, end: 0.012 };
}

impl Trained {
    /// The noise levels of a configuration, with `default` betas where it has none.
    pub(crate) fn new(algorithm: Algorithm, config: &SchedulerConfig, default: Betas) -> Result<Self, Error> {
        let count = config.train_steps();
        let betas = config.trained_betas.clone().unwrap_or_else(|| {
            let schedule = config.beta_schedule.unwrap_or(default.schedule);
            let (start, end) = (config.beta_start, config.beta_end);
            alphas::betas(schedule, start.unwrap_or(default.start), end.unwrap_or(default.end), count)
        });
        check(betas.len(), betas.len() == count, "the length of trained_betas", "num_train_timesteps")?;
        let known = [PredictionType::Epsilon, PredictionType::VPrediction, PredictionType::Sample];
        let prediction = config.prediction_type;
        if algorithm != Algorithm::PeRFlow {
            refuse::others(algorithm, "prediction_type", prediction.as_ref(), &known, "use perflow")?;
        }
        Ok(Self {
            algorithm,
            alphas: alphas::alphas_cumprod(&betas, config.rescale_betas_zero_snr.unwrap_or(false))?,
            prediction: prediction.unwrap_or(PredictionType::Epsilon),
        })
    }

    /// The noise levels for the classes of diffusers that do not know `rescale_betas_zero_snr`, and pass it over.
    pub(crate) fn as_it_stands(
        algorithm: Algorithm,
        config: &SchedulerConfig,
        default: Betas,
    ) -> Result<Self, Error> {
        Self::new(algorithm, &SchedulerConfig { rescale_betas_zero_snr: None, ..config.clone() }, default)
    }

    /// The noise levels for algorithms in sigma space: diffusers keeps the first sigma finite (4096) where the signal
    /// is zero, instead of refusing epsilon predictions.
    pub(crate) fn in_sigmas(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let mut trained = Self::new(algorithm, config, Betas::LINEAR)?;
        if let Some(silent) = trained.alphas.last_mut().filter(|a| **a == 0.0) {
            *silent = 2f32.powi(-24);
        }
        Ok(trained)
    }

    /// T.
    pub(crate) fn steps(&self) -> usize {
        self.alphas.len()
    }

    /// A step count in a range.
    pub(crate) fn check_count(
        &self,
        given: usize,
        range: RangeInclusive<usize>,
        limit: &'static str,
    ) -> Result<(), Error> {
        if range.contains(&given) {
            return Ok(());
        }
        let (least, most) = range.into_inner();
        Err(Error::StepCount { algorithm: self.algorithm, given, least, most, limit })
    }

    /// A step count between 1 and T.
    pub(crate) fn check_count_in_training(&self, given: usize) -> Result<(), Error> {
        self.check_count(given, 1..=self.steps(), "num_train_timesteps")
    }

    /// Timesteps that are there, in range and strictly descending.
    pub(crate) fn check_timesteps(&self, timesteps: &[usize]) -> Result<(), Error> {
        let first = *timesteps.first().ok_or(Error::NoTimesteps)?;
        if first >= self.steps() {
            return Err(Error::TimestepRange { given: first, end: self.steps() });
        }
        match timesteps.windows(2).find(|pair| pair[1] >= pair[0]) {
            Some(pair) => Err(Error::NotDescending { given: pair[1], previous: pair[0] }),
            None => Ok(()),
        }
    }

    /// An epsilon prediction says nothing about x0 where a is 0.
    pub(crate) fn check_signal(&self, timesteps: &[usize]) -> Result<(), Error> {
        let silent = timesteps.iter().find(|&&t| self.alphas[t] == 0.0);
        match silent {
            Some(&t) if self.prediction == PredictionType::Epsilon => {
                Err(Error::NoSignal { algorithm: self.algorithm, t })
            }
            _ => Ok(()),
        }
    }

    /// The number of steps of a request, where timesteps follow from it.
    pub(crate) fn count_of(&self, steps: &Steps) -> Result<usize, Error> {
        match steps {
            Steps::Count(count) => Ok(*count),
            Steps::Timesteps(_) => Err(self.refuse_timesteps("")),
            Steps::Sigmas(_) => Err(self.refuse_sigmas()),
        }
    }

    /// The error for explicit timesteps where they follow from the step count.
    pub(crate) fn refuse_timesteps(&self, reason: &'static str) -> Error {
        Error::TimestepsRefused { algorithm: self.algorithm, reason }
    }

    /// The error for explicit sigmas where it is timesteps that are chosen.
    pub(crate) fn refuse_sigmas(&self) -> Error {
        Error::SigmasRefused { algorithm: self.algorithm }
    }
}
