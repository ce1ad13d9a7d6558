//! Euler's method in sigma space, plain and ancestral: algorithm 2 of
//! [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn, and k-diffusion's ancestral variant.

use crate::{
    Algorithm, Error, FinalSigma, Level, Linear, Spacing, Step,
    settings::Settings,
    sigmas,
    spacing::{check_count, check_timesteps, leading, linspace, trailing},
};

/// Timesteps, and the sigmas at them with the one that the last step leads to.
pub(crate) struct Grid {
    pub(crate) timesteps: Vec<f32>,
    pub(crate) sigmas: Vec<f32>,
}

impl Grid {
    /// The grid of `count` steps.
    pub(crate) fn of_count(settings: &Settings, count: usize) -> Result<Self, Error> {
        let train_steps = settings.train_steps();
        check_count(settings, count, train_steps, "num_train_timesteps")?;
        let timesteps = match settings.spacing {
            Spacing::Leading => leading(count, train_steps / count, settings.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => {
                // Between the timesteps of training: diffusers does not round these.
                let timesteps = linspace(train_steps - 1, count);
                return Ok(Self::new(settings, timesteps.into_iter().map(|t| t as f32).collect()));
            }
        };
        Self::of_timesteps(settings, &timesteps)
    }

    /// The grid over given timesteps.
    pub(crate) fn of_timesteps(settings: &Settings, timesteps: &[usize]) -> Result<Self, Error> {
        check_timesteps(timesteps, settings.train_steps())?;
        Ok(Self::new(settings, timesteps.iter().map(|&t| t as f32).collect()))
    }

    fn new(settings: &Settings, mut timesteps: Vec<f32>) -> Self {
        let table = sigmas::table(&settings.alphas);
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| sigmas::at(&table, t)).collect();
        if settings.karras {
            let max = settings.sigma_max.unwrap_or(sigmas[0]);
            let min = settings.sigma_min.unwrap_or(sigmas[sigmas.len() - 1]);
            sigmas = sigmas::karras(min, max, sigmas.len());
            let logs = sigmas::logs(&table);
            timesteps = sigmas.iter().map(|&sigma| sigmas::timestep(&logs, sigma) as f32).collect();
        }
        let mut sigmas: Vec<f32> = sigmas.into_iter().map(|sigma| sigma as f32).collect();
        sigmas.push(final_sigma(settings, &table));
        Self { timesteps, sigmas }
    }

    /// What noise of variance 1 is multiplied by to make the first latent.
    pub(crate) fn init_noise_sigma(&self, spacing: Spacing) -> f32 {
        let max = self.sigmas.iter().copied().fold(0.0, f32::max);
        match spacing {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading => (max * max + 1.0).sqrt(),
        }
    }
}

/// The sigma that the last step leads to.
pub(crate) fn final_sigma(settings: &Settings, table: &[f32]) -> f32 {
    match settings.final_sigma {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => table[0],
    }
}

/// The steps over a grid: x' = x + d·(σ_to − σ), d = (x − x0)/σ, and for the ancestral variant noise.
pub(crate) fn steps(settings: &Settings, grid: &Grid) -> Vec<Step> {
    let ancestral = settings.algorithm == Algorithm::EulerAncestral;
    grid.timesteps
        .iter()
        .zip(grid.sigmas.windows(2))
        .map(|(&t, sigmas)| {
            let (from, to) = (sigmas[0], sigmas[1]);
            let level = Level::exploding(from);
            let (x0, _) = level.split(settings.prediction);
            let (down, up) = if ancestral { ancestral_split(from, to) } else { (to, 0.0) };
            let slope = 1.0 / f64::from(from) * (Linear::X - Linear::X0);
            let next = Linear::X + (down - from) * slope + up * Linear::NOISE;
            Step { t, level, x0, clip: None, next, draws_noise: ancestral }
        })
        .collect()
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
    use crate::SchedulerConfig;

    fn grid(spacing: Spacing, karras: bool) -> Grid {
        let config = SchedulerConfig {
            timestep_spacing: Some(spacing),
            use_karras_sigmas: Some(karras),
            ..SchedulerConfig::stable_diffusion()
        };
        let settings = Settings::new(Algorithm::Euler, &config).expect("valid");
        Grid::of_count(&settings, 4).expect("four steps")
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
        let leading = grid(Spacing::Leading, false);
        assert_close(&leading.sigmas, &[4.116698, 1.623693, 0.698_398_6, 0.041_314_5, 0.0]);
        assert_close(&[leading.init_noise_sigma(Spacing::Leading)], &[4.236414]);
        let linspace = grid(Spacing::Linspace, false);
        assert_close(&linspace.sigmas, &[14.614647, 2.918_308_5, 0.932_358_4, 0.029_167_5, 0.0]);
        assert_close(&[linspace.init_noise_sigma(Spacing::Linspace)], &[14.614647]);
        let karras = grid(Spacing::Leading, true);
        assert_close(&karras.sigmas, &[4.116698, 1.208_777_8, 0.273_387_2, 0.041_314_5, 0.0]);
        assert_close(&karras.timesteps, &[751.0, 411.41538, 69.40316, 1.000_000_1]);
    }
}
