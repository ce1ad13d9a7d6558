//! Heun's method in sigma space, algorithm 1 of [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn: every
//! step but the last evaluates the model at both of its ends.
//!
//! The first evaluation leads to the next sigma by Euler; the second, there, takes the step again from where it began,
//! with the mean of both slopes. The last step, to where sigma is 0, is Euler's.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    sigma_space::{Grid, SigmaSpace},
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct Heun {
    space: SigmaSpace,
    clip: Option<f32>,
}

impl Method for Heun {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let trained = Trained::as_it_stands(algorithm, config, Betas::LATENT_LINEAR)?;
        Ok(Self { space: SigmaSpace::new(trained, config)?, clip: config.clip(algorithm) })
    }

    fn trained(&self) -> &Trained {
        &self.space.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let grid = self.space.grid_of(steps)?;
        let (first, count) = (self.space.init_noise_sigma(&grid), grid.timesteps.len());
        Schedule::in_pairs(first, count, |i, known| self.evaluation(&grid, i, known))?.tail(strength)
    }
}

impl Heun {
    /// The evaluation at index `i`: that at the begin of step i/2, or at its end where `i` is odd. An end of which no
    /// begin is known is taken for a begin.
    fn evaluation(&self, grid: &Grid, i: usize, known: usize) -> Step {
        let (step, is_end) = (i / 2, i % 2 == 1);
        // The sigma that it is at, and x0 there.
        let at = step + usize::from(is_end);
        let level = Level::exploding(grid.sigmas[at]);
        let (x0, eps) = level.split(self.trained().prediction);
        // Where x0 is not clamped, the slope is what the model says of the noise. Found from x0 again, as diffusers does,
        // it has the rounding of x0 divided by the sigma of the end.
        let slope = if self.clip.is_some() { slope(Linear::X, Linear::X0, grid.sigmas[at]) } else { eps };
        let next = if is_end && known > 0 {
            let (from, to) = (grid.sigmas[step], grid.sigmas[at]);
            let (x, x0) = (Linear::earlier_x(1), Linear::earlier_x0(1));
            x + (to - from) * (0.5_f64 * (self::slope(x, x0, from) + slope))
        } else {
            Linear::X + (grid.sigmas[at + 1] - grid.sigmas[at]) * slope
        };
        Step { clip: self.clip, ..Step::new(grid.timesteps[at] as f32, level, x0, next) }
    }
}

/// dx/dσ = (x − x0)/σ: equation 3.
fn slope(x: Linear, x0: Linear, sigma: f32) -> Linear {
    1.0 / f64::from(sigma) * (x - x0)
}
