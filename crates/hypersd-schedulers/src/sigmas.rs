//! Sigma space: σ = √((1−a)/a), its table over the timesteps of training, the curves that space it, and where it ends.

use crate::{Error, FinalSigma, SchedulerConfig, beta, config::check};

/// σ_t for every timestep of training, ascending.
pub(crate) fn table(alphas: &[f32]) -> Vec<f32> {
    alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
}

/// σ at a timestep that may lie between two of the table: `numpy.interp`.
pub(crate) fn at(table: &[f32], t: f64) -> f64 {
    let low = t as usize;
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

/// A spacing of the sigmas themselves, of which the timesteps then follow, with limits that a configuration may set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    kind: Kind,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Karras,
    Exponential,
    Beta,
}

impl Curve {
    /// The curve that a configuration asks for, if it does.
    ///
    /// # Errors
    /// [`Error::Config`] if it asks for two.
    pub(crate) fn new(config: &SchedulerConfig) -> Result<Option<Self>, Error> {
        let switches = [
            (Kind::Karras, config.use_karras_sigmas),
            (Kind::Exponential, config.use_exponential_sigmas),
            (Kind::Beta, config.use_beta_sigmas),
        ];
        let mut asked = switches.into_iter().filter(|(_, on)| *on == Some(true)).map(|(kind, _)| kind);
        let Some(kind) = asked.next() else { return Ok(None) };
        let curve = Self { kind, min: config.sigma_min, max: config.sigma_max };
        match asked.next() {
            Some(other) => check(
                "true",
                false,
                Self { kind: other, ..curve }.field(),
                "at most one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas",
            )
            .map(|()| None),
            None => Ok(Some(curve)),
        }
    }

    /// The name of the field that asks for it.
    fn field(self) -> &'static str {
        match self.kind {
            Kind::Karras => "use_karras_sigmas",
            Kind::Exponential => "use_exponential_sigmas",
            Kind::Beta => "use_beta_sigmas",
        }
    }

    /// Why timesteps cannot be given beside it.
    pub(crate) fn reason(self) -> &'static str {
        match self.kind {
            Kind::Karras => " with use_karras_sigmas",
            Kind::Exponential => " with use_exponential_sigmas",
            Kind::Beta => " with use_beta_sigmas",
        }
    }

    /// True for the spacing of Karras et al., whose timesteps multistep solvers round where they cut the others off.
    pub(crate) fn is_karras(self) -> bool {
        self.kind == Kind::Karras
    }

    /// The same without limits, for Karras sigmas of the class that reads none for these.
    pub(crate) fn with_free_karras(self) -> Self {
        if self.is_karras() { Self { min: None, max: None, ..self } } else { self }
    }

    /// `count` sigmas from `max` to `min` (unless the configuration limits them): evenly spaced in σ^(1/7) (equation 5 of
    /// [arXiv:2206.00364](https://arxiv.org/abs/2206.00364)), in ln σ, or at the quantiles of a beta distribution
    /// ([arXiv:2407.12173](https://arxiv.org/abs/2407.12173)).
    pub(crate) fn sigmas(self, max: f64, min: f64, count: usize) -> Vec<f64> {
        const RHO: f64 = 7.0;
        let (max, min) = (self.max.unwrap_or(max), self.min.unwrap_or(min));
        let ramp = |i: usize| if count == 1 { 0.0 } else { i as f64 / (count - 1) as f64 };
        let between = |from: f64, to: f64, part: f64| from + part * (to - from);
        let sigma = |part: f64| match self.kind {
            Kind::Karras => between(max.powf(1.0 / RHO), min.powf(1.0 / RHO), part).powf(RHO),
            Kind::Exponential => between(max.ln(), min.ln(), part).exp(),
            Kind::Beta => between(min, max, beta::quantile(1.0 - part)),
        };
        (0..count).map(|i| sigma(ramp(i))).collect()
    }

    /// `count` sigmas over a whole table.
    pub(crate) fn sigmas_of(self, table: &[f32], count: usize) -> Vec<f64> {
        self.sigmas(f64::from(table[table.len() - 1]), f64::from(table[0]), count)
    }
}

/// `(σ_down, σ_up)` of an ancestral step: down to where fresh noise of σ_up makes it σ_to.
pub(crate) fn ancestral_split(from: f32, to: f32) -> (f32, f32) {
    let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
    // Below 0 by rounding where σ_to is small against σ_from; diffusers then has NaN.
    let down = (to * to - up * up).max(0.0).sqrt();
    (down, up)
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
