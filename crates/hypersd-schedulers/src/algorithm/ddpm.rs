//! DDPM, the chain that models were trained as, shortened: equations 6 and 7 of
//! [arXiv:2006.11239](https://arxiv.org/abs/2006.11239), with the timestep before in the place of t − 1.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    distilled::with_following,
    refuse,
    spacing::{leading, linspace, rounded, trailing},
    trained::{Betas, Trained},
};

/// The least variance that diffusers computes with, for it may take its logarithm.
const LEAST_VARIANCE: f32 = 1e-20;

#[derive(Debug)]
pub(crate) struct Ddpm {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    clip: Option<f32>,
    /// Whether noise has the variance of the forward process, β, instead of that of its posterior.
    is_large: bool,
}

impl Method for Ddpm {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        // Of "fixed_large_log" diffusers takes the root of a logarithm, which is no number; the others are of models that
        // predict a variance.
        let (kind, known) =
            (config.variance_type.as_ref(), ["fixed_small", "fixed_small_log", "fixed_large"]);
        refuse::others(algorithm, "variance_type", kind, &known, "set it to fixed_small")?;
        Ok(Self {
            trained: Trained::new(algorithm, config, Betas::LINEAR)?,
            spacing: config.timestep_spacing.unwrap_or(Spacing::Leading),
            steps_offset: config.steps_offset.unwrap_or(0),
            clip: config.clip(algorithm),
            is_large: config.variance_type.as_deref() == Some("fixed_large"),
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let timesteps = match steps {
            Steps::Count(count) => self.timesteps(*count)?,
            Steps::Timesteps(timesteps) => timesteps.clone(),
            Steps::Sigmas(_) => return Err(self.trained.refuse_sigmas()),
        };
        self.trained.check_timesteps(&timesteps)?;
        self.trained.check_signal(&timesteps)?;
        let steps = with_following(&timesteps).map(|(t, t_prev)| self.step(t, t_prev)).collect();
        Schedule::new(1.0, steps)?.tail(strength)
    }
}

impl Ddpm {
    fn timesteps(&self, count: usize) -> Result<Vec<usize>, Error> {
        self.trained.check_count_in_training(count)?;
        let train_steps = self.trained.steps();
        Ok(match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => rounded(&linspace(train_steps - 1, count)),
        })
    }

    /// To the mean of q(x_prev | x, x0), and noise, which the step from timestep 0 alone is without: that of any other
    /// timestep to the clean image draws it, and multiplies it by next to nothing.
    fn step(&self, t: usize, t_prev: Option<usize>) -> Step {
        let alphas = &self.trained.alphas;
        let (a, a_prev) = (alphas[t], t_prev.map_or(1.0, |t_prev| alphas[t_prev]));
        let level = Level::of_alpha(a);
        let (x0, _) = level.split(self.trained.prediction);
        let alpha = a / a_prev;
        let beta = 1.0 - alpha;
        let mean = (a_prev.sqrt() * beta / (1.0 - a)) * Linear::X0
            + (alpha.sqrt() * (1.0 - a_prev) / (1.0 - a)) * Linear::X;
        let posterior = ((1.0 - a_prev) / (1.0 - a) * beta).max(LEAST_VARIANCE);
        let variance = if self.is_large { beta } else { posterior };
        let draws_noise = t > 0;
        let next = if draws_noise { mean + variance.sqrt() * Linear::NOISE } else { mean };
        Step { clip: self.clip, draws_noise, ..Step::new(t as f32, level, x0, next) }
    }
}
