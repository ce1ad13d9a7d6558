//! Sigma space: σ = √((1−a)/a), its table over the timesteps of training, the Karras spacing, and where it ends.

use crate::{FinalSigma, SchedulerConfig};

/// σ_t for every timestep of training, ascending.
pub(crate) fn table(alphas: &[f32]) -> Vec<f32> {
    alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
}

/// σ at a timestep that may lie between two of the table: `numpy.interp`.
pub(crate) fn at(table: &[f32], t: f32) -> f64 {
    let (low, t) = (t as usize, f64::from(t));
    let (a, fraction) = (f64::from(table[low]), t - low as f64);
    if fraction == 0.0 { a } else { (f64::from(table[low + 1]) - a) * fraction + a }
}

/// What [`Level::preserving`](crate::Level) is, in f64, and lambda = ln(signal/sigma): infinite where sigma is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precise {
    pub(crate) signal: f64,
    pub(crate) sigma: f64,
    pub(crate) lambda: f64,
}

impl Precise {
    pub(crate) fn new(sigma: f32) -> Self {
        let sigma = f64::from(sigma);
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, sigma: sigma * signal, lambda: -sigma.ln() }
    }
}

/// The sigma that the last step leads to.
pub(crate) fn last(end: FinalSigma, table: &[f32]) -> f32 {
    match end {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => table[0],
    }
}

/// The spacing of Karras et al., with limits that a configuration may set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Karras {
    min: Option<f64>,
    max: Option<f64>,
}

impl Karras {
    /// The spacing, if a configuration asks for it.
    pub(crate) fn new(config: &SchedulerConfig) -> Option<Self> {
        (config.use_karras_sigmas == Some(true))
            .then_some(Self { min: config.sigma_min, max: config.sigma_max })
    }

    /// `count` sigmas from `max` to `min` (unless the configuration limits them), evenly spaced in σ^(1/7): equation 5
    /// of [arXiv:2206.00364](https://arxiv.org/abs/2206.00364).
    pub(crate) fn sigmas(self, max: f64, min: f64, count: usize) -> Vec<f64> {
        const RHO: f64 = 7.0;
        let (max, min) = (self.max.unwrap_or(max).powf(1.0 / RHO), self.min.unwrap_or(min).powf(1.0 / RHO));
        let ramp = |i: usize| if count == 1 { 0.0 } else { i as f64 / (count - 1) as f64 };
        (0..count).map(|i| (max + ramp(i) * (min - max)).powf(RHO)).collect()
    }

    /// `count` sigmas over a whole table.
    pub(crate) fn sigmas_of(self, table: &[f32], count: usize) -> Vec<f64> {
        self.sigmas(f64::from(table[table.len() - 1]), f64::from(table[0]), count)
    }
}

/// The timesteps of sigmas: the table's inverse, linear in ln σ, within the table's range.
pub(crate) fn timesteps(table: &[f32], sigmas: &[f64]) -> Vec<f64> {
    // Each rounded to f32 from its exact value.
    let logs: Vec<f32> = table.iter().map(|&sigma| f64::from(sigma).ln() as f32).collect();
    sigmas.iter().map(|&sigma| timestep(&logs, sigma)).collect()
}

fn timestep(log_table: &[f32], sigma: f64) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let above = log_table.partition_point(|&log| f64::from(log) <= log_sigma);
    let low = above.saturating_sub(1).min(log_table.len() - 2);
    let (a, b) = (log_table[low], log_table[low + 1]);
    let weight = ((f64::from(a) - log_sigma) / f64::from(a - b)).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}
