//! DDIM: equations 12 and 16 of [arXiv:2010.02502](https://arxiv.org/abs/2010.02502).

use crate::{
    Error, Level, Linear, Spacing, Step,
    settings::Settings,
    spacing::{check_count, check_timesteps, leading, linspace, rounded, trailing},
};

/// The timesteps of `count` steps.
pub(crate) fn timesteps(settings: &Settings, count: usize) -> Result<Vec<usize>, Error> {
    let train_steps = settings.train_steps();
    check_count(settings, count, train_steps, "num_train_timesteps")?;
    let timesteps = match settings.spacing {
        Spacing::Leading => leading(count, train_steps / count, settings.steps_offset),
        Spacing::Trailing => trailing(train_steps, train_steps, count),
        Spacing::Linspace => rounded(&linspace(train_steps - 1, count)),
    };
    check_timesteps(&timesteps, train_steps)?;
    Ok(timesteps)
}

/// The steps over [`timesteps`].
///
/// A step leads to t − T/N, which is not always the next timestep of the list: of the three trailing steps 999,
/// 666 and 332, the second leads to 333.
pub(crate) fn steps(settings: &Settings, timesteps: &[usize], eta: f64) -> Vec<Step> {
    let alphas = &settings.alphas;
    let stride = settings.train_steps() / timesteps.len();
    let end = if settings.set_alpha_to_one { 1.0 } else { alphas[0] };
    timesteps
        .iter()
        .map(|&t| {
            let a = alphas[t];
            let a_prev = t.checked_sub(stride).map_or(end, |t_prev| alphas[t_prev]);
            let level = Level::of_alpha(a);
            let (x0, eps) = level.split(settings.prediction);
            let variance = (1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev);
            let sigma = eta as f32 * variance.sqrt();
            // Rounding can take this below 0 where a is 0 and eta is 1; diffusers then has NaN.
            let direction = (1.0 - a_prev - sigma * sigma).max(0.0).sqrt();
            Step {
                t: t as f32,
                level,
                x0,
                clip: settings.clip,
                next: a_prev.sqrt() * Linear::X0 + direction * eps + sigma * Linear::NOISE,
                draws_noise: eta > 0.0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, SchedulerConfig};

    #[test]
    fn a_step_leads_to_t_minus_the_stride() {
        let config = SchedulerConfig {
            timestep_spacing: Some(Spacing::Trailing),
            ..SchedulerConfig::stable_diffusion()
        };
        let settings = Settings::new(Algorithm::Ddim, &config).expect("valid");
        let timesteps = timesteps(&settings, 3).expect("three steps");
        assert_eq!(timesteps, [999, 666, 332]);
        // From 332 it is past the first timestep: set_alpha_to_one is false, so a_0 and not 1.
        let signals = [666, 333, 0].map(|t| f64::from(settings.alphas[t].sqrt()));
        assert_eq!(
            steps(&settings, &timesteps, 0.0).iter().map(|step| step.next.x0).collect::<Vec<_>>(),
            signals
        );
    }
}
