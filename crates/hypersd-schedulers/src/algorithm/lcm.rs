//! LCM: multistep consistency sampling, algorithm 3 of [arXiv:2310.04378](https://arxiv.org/abs/2310.04378).
//!
//! The boundary scalings are those of the paper's code, which diffusers has too, and not those of its theory. There
//! the consistency function is the identity at the least time epsilon (appendix C of
//! [arXiv:2303.01469](https://arxiv.org/abs/2303.01469)): c_skip = σ²/((t−ε)² + σ²) and c_out = σ·(t−ε)/√(t² + σ²),
//! with σ = 0.5 the deviation of the data. Here ε is 0, and c_out lacks the factor σ. With the factor 10 on t it hardly
//! matters: from t = 1 up c_skip is below 0.003 and c_out above 0.998. Models were distilled with these numbers.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    config::check,
    distilled::{Distilled, with_following},
    trained::Trained,
};

#[derive(Debug)]
pub(crate) struct Lcm {
    model: Distilled,
    /// The factor on t in the boundary scalings.
    timestep_scaling: f32,
    clip: Option<f32>,
    /// What T stands for where the model is asked, T unless it was distilled at shifted timesteps.
    shift: usize,
}

impl Method for Lcm {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let model = Distilled::new(algorithm, config)?;
        let shift = config.shifted_timestep.unwrap_or(model.trained.steps());
        let fits = (1..=model.trained.steps()).contains(&shift);
        check(shift, fits, "shifted_timestep", "1 to num_train_timesteps")?;
        Ok(Self {
            model,
            shift,
            timestep_scaling: config.timestep_scaling.unwrap_or(10.0) as f32,
            clip: config.clip(algorithm),
        })
    }

    fn trained(&self) -> &Trained {
        &self.model.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let (timesteps, strength) = self.model.timesteps(steps, strength)?;
        let steps = with_following(&timesteps).map(|(t, t_prev)| self.step(t, t_prev));
        Schedule::new(1.0, steps.collect())?.tail(strength)
    }
}

impl Lcm {
    /// To the clean latent, then noise up to the next timestep. The last step returns the clean latent.
    ///
    /// A model that was distilled at shifted timesteps (NitroFusion's) is asked, and believed, as at ⌊t·shift/T⌋; noise goes
    /// up to what the next timestep is before it is shifted.
    fn step(&self, t: usize, t_prev: Option<usize>) -> Step {
        let t = t * self.shift / self.model.trained.steps();
        let Trained { alphas, prediction, .. } = &self.model.trained;
        let level = Level::of_alpha(alphas[t]);
        let (x0, _) = level.split(*prediction);
        let (c_skip, c_out) = boundary_scalings(t as f32 * self.timestep_scaling);
        let denoised = c_out * Linear::X0 + c_skip * Linear::X;
        let next = t_prev.map_or(denoised, |t_prev| {
            let Level { signal, sigma, .. } = Level::of_alpha(alphas[t_prev]);
            signal * denoised + sigma * Linear::NOISE
        });
        Step { clip: self.clip, draws_noise: t_prev.is_some(), ..Step::new(t as f32, level, x0, next) }
    }
}

/// `(c_skip, c_out)` that make the consistency function the identity at t = 0.
fn boundary_scalings(t: f32) -> (f32, f32) {
    const SIGMA_DATA: f32 = 0.5;
    let square = t * t + SIGMA_DATA * SIGMA_DATA;
    (SIGMA_DATA * SIGMA_DATA / square, t / square.sqrt())
}
