//! The stochastic DPM-Solver++ of k-diffusion and AUTOMATIC1111 ("DPM++ SDE"), which evaluates the model twice in a step:
//! an exponential integrator of the reverse SDE ([arXiv:2211.01095](https://arxiv.org/abs/2211.01095)) with a midpoint in
//! ln σ.
//!
//! The first evaluation leads to the geometric mean of both sigmas, with noise; the second, there, says the x0 with which
//! the whole step is then taken from where it began, with noise of its own. diffusers draws both from one Brownian motion,
//! seeded on its own, so that the second contains the first. Here each is a fresh draw of the generator that everything
//! else is drawn from; given the same noise, the steps are the same.

use crate::{
    Algorithm, Error, Level, Linear, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    sigma_space::{Grid, SigmaSpace},
    sigmas::{ancestral_split, timesteps},
    trained::{Betas, Trained},
};

#[derive(Debug)]
pub(crate) struct DpmppSde {
    space: SigmaSpace,
}

impl Method for DpmppSde {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let trained = Trained::as_it_stands(algorithm, config, Betas::LATENT_LINEAR)?;
        let space = SigmaSpace::new(trained, config)?;
        let curve = space.curve.map(|curve| curve.with_free_karras());
        Ok(Self { space: SigmaSpace { curve, rounds_timesteps: false, ..space } })
    }

    fn trained(&self) -> &Trained {
        &self.space.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let grid = self.space.grid_of_count(self.trained().count_of(steps)?)?;
        let sigma = |i: usize| f64::from(grid.sigmas[i]);
        let middles: Vec<f64> = (1..grid.timesteps.len()).map(|i| (sigma(i - 1) * sigma(i)).sqrt()).collect();
        let middles = Grid {
            timesteps: timesteps(&self.space.table(), &middles),
            sigmas: middles.into_iter().map(|sigma| sigma as f32).collect(),
        };
        let (first, count) = (self.space.init_noise_sigma(&grid), grid.timesteps.len());
        let evaluation = |i, known| self.evaluation([&grid, &middles], i, known);
        Schedule::in_pairs(first, count, evaluation)?.tail(strength)
    }
}

impl DpmppSde {
    /// The evaluation at index `i`: that at the begin of step i/2, or in its middle where `i` is odd. A middle of which no
    /// begin is known is taken for a begin.
    fn evaluation(&self, [grid, middles]: [&Grid; 2], i: usize, known: usize) -> Step {
        let (step, is_middle) = (i / 2, i % 2 == 1);
        let (from, to) = (grid.sigmas[step], grid.sigmas[step + 1]);
        let (at, t) = if is_middle {
            (middles.sigmas[step], middles.timesteps[step])
        } else {
            (from, grid.timesteps[step])
        };
        let level = Level::exploding(at);
        let (x0, _) = level.split(self.trained().prediction);
        let plain = Step::new(t as f32, level, x0, Linear::X0);
        if to == 0.0 {
            return plain; // Euler's step to sigma 0 is x0
        }
        let next = match (is_middle, known) {
            (false, _) => toward(Linear::X, from, middles.sigmas[step]),
            (true, 0) => toward(Linear::X, at, to),
            (true, _) => toward(Linear::earlier_x(1), from, to),
        };
        Step { next, draws_noise: true, ..plain }
    }
}

/// From `x` at a sigma to another, exact in the linear part, with x0 constant: down to σ_down, and up again by noise.
fn toward(x: Linear, from: f32, to: f32) -> Linear {
    let (down, up) = ancestral_split(from, to);
    let kept = f64::from(down) / f64::from(from);
    kept * x + (1.0 - kept) * Linear::X0 + up * Linear::NOISE
}
