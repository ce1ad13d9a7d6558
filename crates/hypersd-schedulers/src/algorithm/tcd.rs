//! TCD: strategic stochastic sampling, algorithm 4 of [arXiv:2402.19159](https://arxiv.org/abs/2402.19159).

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    distilled::{Distilled, with_following},
    trained::Trained,
};

/// TCD reads nothing but how the model was trained and distilled.
#[derive(Debug)]
pub(crate) struct Tcd {
    model: Distilled,
}

impl Method for Tcd {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        Ok(Self { model: Distilled::new(algorithm, config)? })
    }

    fn trained(&self) -> &Trained {
        &self.model.trained
    }

    fn schedule(&self, steps: &Steps, eta: f64, strength: f64) -> Result<Schedule, Error> {
        let (timesteps, strength) = self.model.timesteps(steps, strength)?;
        let steps = with_following(&timesteps).map(|(t, t_prev)| self.step(t, t_prev, eta));
        Schedule::new(1.0, steps.collect())?.tail(strength)
    }
}

impl Tcd {
    /// DDIM to s = ⌊(1 − eta)·t_prev⌋, then noise back up to t_prev.
    ///
    /// The last step leads to t = 0, which is not quite the clean image: √a₀·x0 + √(1−a₀)·eps.
    fn step(&self, t: usize, t_prev: Option<usize>, eta: f64) -> Step {
        let Trained { alphas, prediction, .. } = &self.model.trained;
        let draws_noise = eta > 0.0 && t_prev.is_some();
        let t_prev = t_prev.unwrap_or(0);
        let s = ((1.0 - eta) as f32 * t_prev as f32).floor() as usize;
        let (a_s, a_prev) = (alphas[s], alphas[t_prev]);
        let level = Level::of_alpha(alphas[t]);
        let (x0, eps) = level.split(*prediction);
        let x_s = a_s.sqrt() * Linear::X0 + (1.0 - a_s).sqrt() * eps;
        let next = if draws_noise {
            (a_prev / a_s).sqrt() * x_s + (1.0 - a_prev / a_s).sqrt() * Linear::NOISE
        } else {
            x_s
        };
        Step { draws_noise, ..Step::new(t as f32, level, x0, next) }
    }
}
