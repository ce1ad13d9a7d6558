//! LCM: multistep consistency sampling, algorithm 3 of [arXiv:2310.04378](https://arxiv.org/abs/2310.04378).

use crate::{Level, Linear, Step, settings::Settings};

/// The steps over descending `timesteps`: to the clean latent, then noise up to the next timestep. The last step
/// returns the clean latent.
pub(crate) fn steps(settings: &Settings, timesteps: &[usize]) -> Vec<Step> {
    let following = timesteps.iter().skip(1).map(Some).chain([None]);
    timesteps
        .iter()
        .zip(following)
        .map(|(&t, t_prev)| {
            let level = Level::of_alpha(settings.alphas[t]);
            let (x0, _) = level.split(settings.prediction);
            let (c_skip, c_out) = boundary_scalings(t as f32 * settings.timestep_scaling as f32);
            let denoised = c_out * Linear::X0 + c_skip * Linear::X;
            let next = t_prev.map_or(denoised, |&t_prev| {
                let Level { signal, sigma, .. } = Level::of_alpha(settings.alphas[t_prev]);
                signal * denoised + sigma * Linear::NOISE
            });
            Step { t: t as f32, level, x0, clip: settings.clip, next, draws_noise: t_prev.is_some() }
        })
        .collect()
}

/// `(c_skip, c_out)` that make the consistency function the identity at t = 0.
fn boundary_scalings(t: f32) -> (f32, f32) {
    const SIGMA_DATA: f32 = 0.5;
    let square = t * t + SIGMA_DATA * SIGMA_DATA;
    (SIGMA_DATA * SIGMA_DATA / square, t / square.sqrt())
}
