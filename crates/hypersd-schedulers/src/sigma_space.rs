//! The noise levels of the algorithms that come from k-diffusion (Euler, Heun, the stochastic DPM-Solver): timesteps,
//! which may lie between those of training, and the sigmas at them.

use crate::{
    Error, FinalSigma, SchedulerConfig, Spacing, Steps,
    sigmas::{self, Curve},
    spacing::{leading, linspace, trailing},
    trained::Trained,
};

/// What they read of a configuration.
#[derive(Debug)]
pub(crate) struct SigmaSpace {
    pub(crate) trained: Trained,
    pub(crate) spacing: Spacing,
    pub(crate) steps_offset: usize,
    pub(crate) curve: Option<Curve>,
    pub(crate) final_sigma: FinalSigma,
    /// Whether timesteps between those of training are rounded to f32 before their sigmas are looked up.
    pub(crate) rounds_timesteps: bool,
}

/// Timesteps, and the sigmas at them with the one that the last step leads to.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) timesteps: Vec<f64>,
    pub(crate) sigmas: Vec<f32>,
}

impl SigmaSpace {
    /// Every field as the classes of diffusers have it by default, but for the curve, which is the configuration's.
    pub(crate) fn new(trained: Trained, config: &SchedulerConfig) -> Result<Self, Error> {
        Ok(Self {
            trained,
            spacing: config.timestep_spacing.unwrap_or(Spacing::Linspace),
            steps_offset: config.steps_offset.unwrap_or(0),
            curve: Curve::new(config)?,
            final_sigma: FinalSigma::Zero,
            rounds_timesteps: true,
        })
    }

    pub(crate) fn grid_of_count(&self, count: usize) -> Result<Grid, Error> {
        self.trained.check_count_in_training(count)?;
        let train_steps = self.trained.steps();
        let timesteps = match self.spacing {
            Spacing::Leading => leading(count, train_steps / count, self.steps_offset),
            Spacing::Trailing => trailing(train_steps, train_steps, count),
            Spacing::Linspace => {
                // Between the timesteps of training: diffusers does not round these to whole ones.
                let rounded = |t: f64| if self.rounds_timesteps { f64::from(t as f32) } else { t };
                let timesteps = linspace(train_steps - 1, count);
                return Ok(self.grid(timesteps.into_iter().map(rounded).collect()));
            }
        };
        self.trained.check_timesteps(&timesteps)?;
        Ok(self.grid(timesteps.iter().map(|&t| t as f64).collect()))
    }

    pub(crate) fn grid_of_timesteps(&self, timesteps: &[usize]) -> Result<Grid, Error> {
        if let Some(curve) = self.curve {
            return Err(self.trained.refuse_timesteps(curve.reason()));
        }
        self.trained.check_timesteps(timesteps)?;
        Ok(self.grid(timesteps.iter().map(|&t| t as f64).collect()))
    }

    /// Sigmas that are given with the one that the last step leads to, whatever the curve.
    pub(crate) fn grid_of_sigmas(&self, sigmas: &[f32]) -> Result<Grid, Error> {
        let descend =
            sigmas.windows(2).all(|pair| pair[0] > pair[1] && pair[1] >= 0.0 && pair[0].is_finite());
        if sigmas.len() < 2 || !descend {
            return Err(Error::Sigmas { given: sigmas.to_vec() });
        }
        let starts: Vec<f64> = sigmas[..sigmas.len() - 1].iter().map(|&sigma| f64::from(sigma)).collect();
        let timesteps = sigmas::timesteps(&self.table(), &starts);
        Ok(Grid { timesteps, sigmas: sigmas.to_vec() })
    }

    /// σ_t for every timestep of training.
    pub(crate) fn table(&self) -> Vec<f32> {
        sigmas::table(&self.trained.alphas)
    }

    /// The sigmas of a curve lie between the first and the last of the timesteps, and bring their own.
    fn grid(&self, mut timesteps: Vec<f64>) -> Grid {
        let table = self.table();
        let mut sigmas: Vec<f64> = timesteps.iter().map(|&t| sigmas::at(&table, t)).collect();
        if let Some(curve) = self.curve {
            sigmas = curve.sigmas(sigmas[0], sigmas[sigmas.len() - 1], sigmas.len());
            timesteps = sigmas::timesteps(&table, &sigmas);
        }
        let end = sigmas::last(self.final_sigma, &table);
        Grid { timesteps, sigmas: sigmas.into_iter().map(|sigma| sigma as f32).chain([end]).collect() }
    }

    /// The levels of a count or of timesteps, for the algorithms that take no sigmas.
    pub(crate) fn grid_of(&self, steps: &Steps) -> Result<Grid, Error> {
        match steps {
            Steps::Count(count) => self.grid_of_count(*count),
            Steps::Timesteps(timesteps) => self.grid_of_timesteps(timesteps),
            Steps::Sigmas(_) => Err(self.trained.refuse_sigmas()),
        }
    }

    /// What noise of variance 1 is multiplied by to make the first latent.
    pub(crate) fn init_noise_sigma(&self, grid: &Grid) -> f32 {
        let max = grid.sigmas.iter().copied().fold(0.0, f32::max);
        match self.spacing {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading => (max * max + 1.0).sqrt(),
        }
    }
}
