//! Euler's method in sigma space, plain and ancestral: algorithm 2 of
//! [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn, and k-diffusion's ancestral variant.

use crate::{
    Algorithm, Error, FinalSigma, Level, Linear, Schedule, SchedulerConfig, Step, Steps,
    algorithm::Method,
    refuse,
    sigma_space::{Grid, SigmaSpace},
    sigmas::ancestral_split,
    trained::Trained,
};

#[derive(Debug)]
pub(crate) struct Euler {
    space: SigmaSpace,
    ancestral: bool,
}

impl Method for Euler {
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        let ancestral = algorithm == Algorithm::EulerAncestral;
        let space = SigmaSpace::new(Trained::in_sigmas(algorithm, config)?, config)?;
        // The ancestral class has neither these fields nor those of curves and of where it ends: at zero.
        if ancestral {
            return Ok(Self { space: SigmaSpace { curve: None, ..space }, ancestral });
        }
        let interpolation = config.interpolation_type.as_ref();
        refuse::others(algorithm, "interpolation_type", interpolation, &["linear"], "set it to linear")?;
        let kind = config.timestep_type.as_ref();
        refuse::others(algorithm, "timestep_type", kind, &["discrete"], "set it to discrete")?;
        let final_sigma = config.final_sigmas_type.unwrap_or(FinalSigma::Zero);
        Ok(Self { space: SigmaSpace { final_sigma, ..space }, ancestral })
    }

    fn trained(&self) -> &Trained {
        &self.space.trained
    }

    fn schedule(&self, steps: &Steps, _eta: f64, strength: f64) -> Result<Schedule, Error> {
        let grid = match steps {
            Steps::Timesteps(_) if self.ancestral => return Err(self.trained().refuse_timesteps("")),
            Steps::Sigmas(sigmas) if !self.ancestral => self.space.grid_of_sigmas(sigmas)?,
            steps => self.space.grid_of(steps)?,
        };
        Schedule::new(self.space.init_noise_sigma(&grid), self.steps(&grid))?.tail(strength)
    }

    fn schedule_at(&self, timesteps: Vec<usize>, eta: f64) -> Result<Schedule, Error> {
        if !self.ancestral {
            return self.schedule(&Steps::Timesteps(timesteps), eta, 1.0);
        }
        let grid = self.space.grid_of_timesteps(&timesteps)?;
        Schedule::new(self.space.init_noise_sigma(&grid), self.steps(&grid))
    }
}

impl Euler {
    /// x' = x + d·(σ_to − σ), d = (x − x0)/σ, and for the ancestral variant noise.
    fn steps(&self, grid: &Grid) -> Vec<Step> {
        let step = |(&t, sigmas): (&f64, &[f32])| {
            let (from, to) = (sigmas[0], sigmas[1]);
            let level = Level::exploding(from);
            let (x0, _) = level.split(self.trained().prediction);
            let (down, up) = if self.ancestral { ancestral_split(from, to) } else { (to, 0.0) };
            let slope = 1.0 / f64::from(from) * (Linear::X - Linear::X0);
            let next = Linear::X + (down - from) * slope + up * Linear::NOISE;
            Step { draws_noise: self.ancestral, ..Step::new(t as f32, level, x0, next) }
        };
        grid.timesteps.iter().zip(grid.sigmas.windows(2)).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spacing;

    fn euler(spacing: Spacing, karras: bool) -> (Grid, f32) {
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing),
            use_karras_sigmas: Some(karras),
            ..SchedulerConfig::stable_diffusion()
        };
        let euler = Euler::new(Algorithm::Euler, &config).expect("valid");
        let grid = euler.space.grid_of_count(4).expect("four steps");
        let init_noise_sigma = euler.space.init_noise_sigma(&grid);
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
        let timesteps: Vec<f32> = karras.timesteps.iter().map(|&t| t as f32).collect();
        assert_close(&timesteps, &[751.0, 411.41538, 69.40316, 1.000_000_1]);
    }
}
