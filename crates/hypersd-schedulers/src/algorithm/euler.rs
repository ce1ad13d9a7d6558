//! Euler's method in sigma space, plain and ancestral: algorithm 2 of
//! [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn, and k-diffusion's ancestral variant.

use crate::{
    Algorithm, Error, FinalSigma, Level, Linear, Schedule, SchedulerConfig, Spacing, Step, Steps,
    algorithm::Method,
    refuse,
    sigmas::{self, Karras},
    spacing::{leading, linspace, trailing},
    trained::Trained,
};

#[derive(Debug)]
pub(crate) struct Euler {
    trained: Trained,
    spacing: Spacing,
    steps_offset: usize,
    karras: Option<Karras>,
    final_sigma: FinalSigma,
    ancestral: bool,
}

/// Timesteps, and the sigmas at them with the one that the last step leads to.
struct Grid {
    timesteps: Vec<f32>,
    sigmas: Vec<f32>,
}

impl Method for Euler {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let ancestral = algorithm == Algorithm::EulerAncestral;
        // The ancestral class has neither these fields nor those of Karras sigmas and of where it ends: at zero.
        if !ancestral {
            refuse::other_sigmas(algorithm, config)?;
            let interpolation = config.interpolation_type.as_ref();
            refuse::others(algorithm, "interpolation_type", interpolation, &["linear"], "set it to linear")?;
            let kind = config.timestep_type.as_ref();
            refuse::others(algorithm, "timestep_type", kind, &["discrete"], "set it to discrete")?;
        }
        Ok(Self {
            trained: Trained::in_sigmas(algorithm, config)?,
            spacing: config.timestep_spacing.unwrap_or(Spacing::Linspace),
            steps_offset: config.steps_offset.unwrap_or(0),
            karras: Karras::new(config).filter(|_| !ancestral),
            final_sigma: config.final_sigmas_type.filter(|_| !ancestral).unwrap_or(FinalSigma::Zero),
            ancestral,
        })
    }

    fn trained(&self) -> &Trained {
        &self.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let grid = match steps {
            Steps::Count(count) => self.grid_of_count(*count)?,
            Steps::Timesteps(_) if self.ancestral => return Err(self.trained.refuse_timesteps("")),
            Steps::Timesteps(_) if self.karras.is_some() => {
                return Err(self.trained.refuse_timesteps(" with use_karras_sigmas"));
            }
            Steps::Timesteps(timesteps) => self.grid_of_timesteps(timesteps)?,
        };
        Schedule::new(self.init_noise_sigma(&grid), self.steps(&grid))?.tail(strength)
    }

    fn schedule_at(&self, timesteps: Vec<usize>, eta: f64) -> Result<Schedule, Error> {
        if !self.ancestral {
            return self.schedule(&Steps::Timesteps(timesteps), eta, 1.0);
        }
        let grid = self.grid_of_timesteps(&timesteps)?;
        Schedule::new(self.init_noise_sigma(&grid), self.steps(&grid))
    }
}

impl Euler {
    fn grid_of_count(&self, count: usize) -> Result<Grid, Error> {
        self.trained.check_count_in_training(count)?;
        let train_steps = self.trained.steps();
        let timesteps = match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => {
                // Between the timesteps of training: diffusers does not round these.
                let timesteps = linspace(train_steps - 1, count);
                return Ok(self.grid(timesteps.into_iter().map(|t| t as f32).collect()));
            }
        };
        self.grid_of_timesteps(&timesteps)
    }

    fn grid_of_timesteps(&self, timesteps: &[usize]) -> Result<Grid, Error> {
        self.trained.check_timesteps(timesteps)?;
        Ok(self.grid(timesteps.iter().map(|&t| t as f32).collect()))
    }

    /// Karras sigmas lie between the first and the last of the timesteps, and bring their own.
    fn grid(&self, mut timesteps: Vec<f32>) -> Grid {
        let table = sigmas::table(&self.trained.alphas);
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| sigmas::at(&table, t)).collect();
        if let Some(karras) = self.karras {
            sigmas = karras.sigmas(sigmas[0], sigmas[sigmas.len() - 1], sigmas.len());
            timesteps = sigmas::timesteps(&table, &sigmas).into_iter().map(|t| t as f32).collect();
        }
        let end = sigmas::last(self.final_sigma, &table);
        Grid { timesteps, sigmas: sigmas.into_iter().map(|sigma| sigma as f32).chain([end]).collect() }
    }

    /// What noise of variance 1 is multiplied by to make the first latent.
    fn init_noise_sigma(&self, grid: &Grid) -> f32 {
        let max = grid.sigmas.iter().copied().fold(0.0, f32::max);
        match self.spacing {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading => (max * max + 1.0).sqrt(),
        }
    }

    /// x' = x + d·(σ_to − σ), d = (x − x0)/σ, and for the ancestral variant noise.
    fn steps(&self, grid: &Grid) -> Vec<Step> {
        let step = |(&t, sigmas): (&f32, &[f32])| {
            let (from, to) = (sigmas[0], sigmas[1]);
            let level = Level::exploding(from);
            let (x0, _) = level.split(self.trained.prediction);
            let (down, up) = if self.ancestral { ancestral_split(from, to) } else { (to, 0.0) };
            let slope = 1.0 / f64::from(from) * (Linear::X - Linear::X0);
            let next = Linear::X + (down - from) * slope + up * Linear::NOISE;
            Step { draws_noise: self.ancestral, ..Step::new(t, level, x0, next) }
        };
        grid.timesteps.iter().zip(grid.sigmas.windows(2)).map(step).collect()
    }
}

/// `(σ_down, σ_up)`: down to where fresh noise of σ_up makes it σ_to.
fn ancestral_split(from: f32, to: f32) -> (f32, f32) {
    let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
    // Below 0 by rounding where σ_to is small against σ_from; diffusers then has NaN.
    let down = (to * to - up * up).max(0.0).sqrt();
    (down, up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn euler(spacing: Spacing, karras: bool) -> (Grid, f32) {
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing),
            use_karras_sigmas: Some(karras),
            ..SchedulerConfig::stable_diffusion()
        };
        let euler = Euler::new(Algorithm::Euler, &config).expect("valid");
        let grid = euler.grid_of_count(4).expect("four steps");
        let init_noise_sigma = euler.init_noise_sigma(&grid);
        (grid, init_noise_sigma)
    }

    #[track_caller]
    fn assert_close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 2e-6 * want, "{got} for {want}");
        }
    }

    /// Printed by diffusers 0.42.1, as many digits as it showed.
    #[test]
    fn sigmas_and_first_noise() {
        let (leading, first) = euler(Spacing::Leading, false);
        assert_close(&leading.sigmas, &[4.116698, 1.623693, 0.698_398_6, 0.041_314_5, 0.0]);
        assert_close(&[first], &[4.236414]);
        let (linspace, first) = euler(Spacing::Linspace, false);
        assert_close(&linspace.sigmas, &[14.614647, 2.918_308_5, 0.932_358_4, 0.029_167_5, 0.0]);
        assert_close(&[first], &[14.614647]);
        let (karras, _) = euler(Spacing::Leading, true);
        assert_close(&karras.sigmas, &[4.116698, 1.208_777_8, 0.273_387_2, 0.041_314_5, 0.0]);
        assert_close(&karras.timesteps, &[751.0, 411.41538, 69.40316, 1.000_000_1]);
    }
}
