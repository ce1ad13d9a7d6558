//! The second-order multistep DPM-Solver++ with midpoint steps: algorithm 2 of
//! [arXiv:2211.01095](https://arxiv.org/abs/2211.01095).

use crate::{
    Error, FinalSigma, Level, Linear, Spacing, Step,
    euler::final_sigma,
    settings::Settings,
    sigmas,
    spacing::{check_count, check_timesteps, leading, linspace, rounded, trailing},
};

/// Below this many steps the last one is of first order (`lower_order_final`).
const FEW_STEPS: usize = 15;

/// Timesteps, and the sigmas at them with the one that the last step leads to.
pub(crate) struct Grid {
    timesteps: Vec<usize>,
    sigmas: Vec<f32>,
}

impl Grid {
    /// The grid of `count` steps.
    pub(crate) fn of_count(settings: &Settings, count: usize) -> Result<Self, Error> {
        let train_steps = settings.train_steps();
        check_count(settings, count, train_steps, "num_train_timesteps")?;
        if settings.karras {
            return Ok(Self::karras(settings, count));
        }
        let end = train_steps - clipped(settings);
        let timesteps = match settings.spacing {
            // One more than the steps: the last timestep is where sigma is 0.
            Spacing::Leading => {
                let mut timesteps = leading(count + 1, end / (count + 1), settings.steps_offset);
                timesteps.pop();
                timesteps
            }
            Spacing::Linspace => {
                let mut timesteps = rounded(&linspace(end.saturating_sub(1), count + 1));
                timesteps.pop();
                timesteps
            }
            Spacing::Trailing => trailing(end, train_steps, count),
        };
        Self::of_timesteps(settings, timesteps)
    }

    /// The grid over given timesteps.
    pub(crate) fn of_timesteps(settings: &Settings, timesteps: Vec<usize>) -> Result<Self, Error> {
        check_timesteps(&timesteps, settings.train_steps())?;
        let table = sigmas::table(&settings.alphas);
        let sigmas = timesteps.iter().map(|&t| table[t]).chain([final_sigma(settings, &table)]).collect();
        Ok(Self { timesteps, sigmas })
    }

    /// Karras sigmas over the whole table, at the nearest timesteps (which may repeat).
    fn karras(settings: &Settings, count: usize) -> Self {
        let table = sigmas::table(&settings.alphas);
        let max = settings.sigma_max.unwrap_or(f64::from(table[table.len() - 1]));
        let min = settings.sigma_min.unwrap_or(f64::from(table[0]));
        let sigmas = sigmas::karras(min, max, count);
        let logs = sigmas::logs(&table);
        let timestep = |&sigma: &f64| {
            let t = sigmas::timestep(&logs, sigma);
            if settings.cosine_betas { t as usize } else { t.round_ties_even() as usize }
        };
        Self {
            timesteps: sigmas.iter().map(timestep).collect(),
            sigmas: sigmas.iter().map(|&sigma| sigma as f32).chain([final_sigma(settings, &table)]).collect(),
        }
    }
}

/// How many timesteps at the end have less than `lambda_min_clipped`.
fn clipped(settings: &Settings) -> usize {
    let lambda = |a: &f32| Level::of_alpha(*a).lambda();
    settings.alphas.iter().rev().take_while(|a| f64::from(lambda(a)) < settings.lambda_min).count()
}

/// The steps over a grid. The first has no past and the last may not use it: these are of first order.
pub(crate) fn steps(settings: &Settings, grid: &Grid) -> Vec<Step> {
    let count = grid.timesteps.len();
    let levels: Vec<Level> = grid.sigmas.iter().map(|&sigma| Level::preserving(sigma)).collect();
    let first_order_last = settings.final_sigma == FinalSigma::Zero
        || settings.euler_at_final
        || (settings.lower_order_final && count < FEW_STEPS);
    (0..count)
        .map(|i| {
            let (level, to) = (levels[i], levels[i + 1]);
            let (x0, _) = level.split(settings.prediction);
            let second_order = i > 0 && !(i == count - 1 && first_order_last);
            let past = second_order.then(|| levels[i - 1]);
            Step {
                t: grid.timesteps[i] as f32,
                level,
                x0,
                clip: None,
                next: update(past, level, to),
                draws_noise: false,
            }
        })
        .collect()
}

/// From one level to another: exact in the linear part, with x0 constant (first order), or linear in lambda
/// through the past level's x0 (second order).
fn update(past: Option<Level>, from: Level, to: Level) -> Linear {
    let h = to.lambda() - from.lambda();
    let gain = to.signal * ((-h).exp() - 1.0);
    let first_order = (to.sigma / from.sigma) * Linear::X - gain * Linear::X0;
    past.map_or(first_order, |past| {
        let r = (from.lambda() - past.lambda()) / h;
        first_order - 0.5 * gain * (1.0 / r) * (Linear::X0 - Linear::PREVIOUS)
    })
}

impl Level {
    /// ln(signal/sigma), half the logarithm of the signal-to-noise ratio; infinite for a clean latent.
    fn lambda(&self) -> f32 {
        self.signal.ln() - self.sigma.ln()
    }
}
