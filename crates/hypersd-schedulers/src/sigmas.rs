//! Sigma space: σ = √((1−a)/a), its table over the timesteps of training, and the Karras spacing.

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

/// `count` sigmas from `max` to `min`, evenly spaced in σ^(1/7): equation 5 of
/// [arXiv:2206.00364](https://arxiv.org/abs/2206.00364).
pub(crate) fn karras(min: f64, max: f64, count: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (min, max) = (min.powf(1.0 / RHO), max.powf(1.0 / RHO));
    let ramp = |i: usize| if count == 1 { 0.0 } else { i as f64 / (count - 1) as f64 };
    (0..count).map(|i| (max + ramp(i) * (min - max)).powf(RHO)).collect()
}

/// The timestep of a sigma: the table's inverse, linear in ln σ, within the table's range.
pub(crate) fn timestep(log_table: &[f32], sigma: f64) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let above = log_table.partition_point(|&log| f64::from(log) <= log_sigma);
    let low = above.saturating_sub(1).min(log_table.len() - 2);
    let (a, b) = (log_table[low], log_table[low + 1]);
    let weight = ((f64::from(a) - log_sigma) / f64::from(a - b)).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// ln σ of a table, each rounded to f32 from its exact value.
pub(crate) fn logs(table: &[f32]) -> Vec<f32> {
    table.iter().map(|&sigma| f64::from(sigma).ln() as f32).collect()
}
