//! TCD: strategic stochastic sampling, algorithm 4 of [arXiv:2402.19159](https://arxiv.org/abs/2402.19159).

use crate::{Level, Linear, Step, settings::Settings};

/// The steps over descending `timesteps`: DDIM to s = ⌊(1 − eta)·t_prev⌋, then noise back up to t_prev.
///
/// The last step leads to t = 0, which is not quite the clean image: √a₀·x0 + √(1−a₀)·eps.
pub(crate) fn steps(settings: &Settings, timesteps: &[usize], eta: f64) -> Vec<Step> {
    let alphas = &settings.alphas;
    let following = timesteps.iter().skip(1).map(Some).chain([None]);
    timesteps
        .iter()
        .zip(following)
        .map(|(&t, t_prev)| {
            let draws_noise = eta > 0.0 && t_prev.is_some();
            let t_prev = t_prev.copied().unwrap_or(0);
            let s = ((1.0 - eta) as f32 * t_prev as f32).floor() as usize;
            let (a_s, a_prev) = (alphas[s], alphas[t_prev]);
            let level = Level::of_alpha(alphas[t]);
            let (x0, eps) = level.split(settings.prediction);
            let x_s = a_s.sqrt() * Linear::X0 + (1.0 - a_s).sqrt() * eps;
            let next = if draws_noise {
                (a_prev / a_s).sqrt() * x_s + (1.0 - a_prev / a_s).sqrt() * Linear::NOISE
            } else {
                x_s
            };
            Step { t: t as f32, level, x0, clip: None, next, draws_noise }
        })
        .collect()
}
