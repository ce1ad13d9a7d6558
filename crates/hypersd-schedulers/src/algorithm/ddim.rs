//! DDIM: equations 12 and 16 of [arXiv:2010.02502](https://arxiv.org/abs/2010.02502).

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    distilled::with_following,
    spacing::{leading, linspace, rounded, trailing},
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct Ddim {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    clip: Option<f32>,
    /// a where the last step leads.
    end: f32,
}

impl Method for Ddim {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let trained = Trained::new(algorithm, config, Betas::LINEAR)?;
        Ok(Self {
            spacing: config.timestep_spacing.unwrap_or(Spacing::Leading),
            steps_offset: config.steps_offset.unwrap_or(0),
            clip: config.clip(algorithm),
            end: if config.set_alpha_to_one.unwrap_or(true) { 1.0 } else { trained.alphas[0] },
            trained,
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, eta: f64, strength: f64) -> Result<Schedule, Error> {
        let timesteps = self.timesteps(self.trained.count_of(steps)?)?;
        self.trained.check_signal(&timesteps)?;
        Schedule::new(1.0, self.steps(&timesteps, eta))?.tail(strength)
    }

    /// Each step leads to the next timestep of the list.
    fn schedule_at(&self, timesteps: Vec<usize>, eta: f64) -> Result<Schedule, Error> {
        self.trained.check_timesteps(&timesteps)?;
        self.trained.check_signal(&timesteps)?;
        let alpha = |t: usize| self.trained.alphas[t];
        let steps = with_following(&timesteps)
            .map(|(t, t_prev)| self.step(t, t_prev.map_or(self.end, alpha), eta))
            .collect();
        Schedule::new(1.0, steps)
    }
}

impl Ddim {
    fn timesteps(&self, count: usize) -> Result<Vec<usize>, Error> {
        self.trained.check_count_in_training(count)?;
        let train_steps = self.trained.steps();
        let timesteps = match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => rounded(&linspace(train_steps - 1, count)),
        };
        self.trained.check_timesteps(&timesteps)?;
        Ok(timesteps)
    }

    /// A step leads to t − T/N, which is not always the next timestep of the list: of the three trailing steps 999,
    /// 666 and 332, the second leads to 333.
    fn steps(&self, timesteps: &[usize], eta: f64) -> Vec<Step> {
        let alphas = &self.trained.alphas;
        let stride = self.trained.steps() / timesteps.len();
        timesteps
            .iter()
            .map(|&t| {
                let a_prev = t.checked_sub(stride).map_or(self.end, |t_prev| alphas[t_prev]);
                self.step(t, a_prev, eta)
            })
            .collect()
    }

    fn step(&self, t: usize, a_prev: f32, eta: f64) -> Step {
        let a = self.trained.alphas[t];
        let level = Level::of_alpha(a);
        let (x0, eps) = level.split(self.trained.prediction);
        let variance = (1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev);
        let sigma = eta as f32 * variance.sqrt();
        // Rounding can take this below 0 where a is 0 and eta is 1; diffusers then has NaN.
        let direction = (1.0 - a_prev - sigma * sigma).max(0.0).sqrt();
        let next = a_prev.sqrt() * Linear::X0 + direction * eps + sigma * Linear::NOISE;
        Step { clip: self.clip, draws_noise: eta > 0.0, ..Step::new(t as f32, level, x0, next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_leads_to_t_minus_the_stride() {
        let config = SchedulerConfig {
            timestep_spacing: Some(Spacing::Trailing),
            ..SchedulerConfig::stable_diffusion()
        };
        let ddim = Ddim::new(Algorithm::Ddim, &config).expect("valid");
        let timesteps = ddim.timesteps(3).expect("three steps");
        assert_eq!(timesteps, [999, 666, 332]);
        // From 332 it is past the first timestep: set_alpha_to_one is false, so a_0 and not 1.
        let signals = [666, 333, 0].map(|t| f64::from(ddim.trained.alphas[t].sqrt()));
        assert_eq!(ddim.steps(&timesteps, 0.0).iter().map(|step| step.next.x0).collect::<Vec<_>>(), signals);
    }
}
