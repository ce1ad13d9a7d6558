//! Betas to cumulative alphas, bit for bit as torch computes them in f32.

use std::f64::consts::PI;

use crate::{BetaSchedule, Error};

/// β_t for t in 0..count.
pub(crate) fn betas(schedule: BetaSchedule, start: f64, end: f64, count: usize) -> Vec<f32> {
    match schedule {
        BetaSchedule::Linear => linspace(start, end, count),
        BetaSchedule::ScaledLinear => {
            linspace(start.sqrt(), end.sqrt(), count).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosCapV2 => {
            let alpha_bar = |t: usize| ((t as f64 / count as f64 + 0.008) / 1.008 * PI / 2.0).cos().powi(2);
            (0..count).map(|t| (1.0 - alpha_bar(t + 1) / alpha_bar(t)).min(0.999) as f32).collect()
        }
    }
}

/// `torch.linspace` in f32: from both ends to the middle, each value one fused multiply-add. Without the fusing,
/// 145 of the 1000 values of Stable Diffusion differ by one in the last place.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| {
            if i < count / 2 {
                step.mul_add(i as f32, start)
            } else {
                (-step).mul_add((count - 1 - i) as f32, end)
            }
        })
        .collect()
}

/// a_t = Π (1 − β_s) for s in 0..=t, optionally stretched so that the last is 0.
///
/// # Errors
/// If a beta is not between 0 and 1, or their product leaves no noise at the start or no signal at the end.
pub(crate) fn alphas_cumprod(betas: &[f32], zero_snr: bool) -> Result<Vec<f32>, Error> {
    const EXPECTED: &str = "betas above 0 and below 1 that leave some noise at the first timestep and some signal \
                            at the last";
    let wrong = |given: f32| Error::Config { field: "betas", given: given.to_string(), expected: EXPECTED };
    if let Some(&beta) = betas.iter().find(|beta| !(**beta > 0.0 && **beta < 1.0)) {
        return Err(wrong(beta));
    }
    let alphas = cumprod(betas.iter().map(|beta| 1.0 - beta));
    let (first, last) = (alphas[0], alphas[alphas.len() - 1]);
    if !(first < 1.0 && last > 0.0 && last < first) {
        return Err(wrong(betas[0]));
    }
    Ok(if zero_snr { rescale_zero_snr(&alphas) } else { alphas })
}

/// `torch.cumprod`: the running product is kept in f64, every entry rounded.
fn cumprod(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut product = 1.0_f64;
    factors
        .map(|factor| {
            product *= f64::from(factor);
            product as f32
        })
        .collect()
}

/// Algorithm 1 of arXiv:2305.08891: √a shifted and scaled so that it ends at 0 and begins where it did.
///
/// diffusers goes back to betas and multiplies them up again; so do we, for its roundings.
fn rescale_zero_snr(alphas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = alphas.iter().map(|a| a.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let factor = first / (first - last);
    let bars: Vec<f32> = roots.iter().map(|root| (root - last) * factor).map(|root| root * root).collect();
    let ratio = |t: usize| if t == 0 { bars[0] } else { bars[t] / bars[t - 1] };
    let betas = (0..bars.len()).map(|t| 1.0 - ratio(t));
    cumprod(betas.map(|beta| 1.0 - beta))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by torch 2.15.
    #[test]
    fn stable_diffusion_has_the_bits_of_torch() {
        let betas = betas(BetaSchedule::ScaledLinear, 0.00085, 0.012, 1000);
        for (t, bits) in [(0, 0x3a5ed288), (1, 0x3a600dda), (500, 0x3b9dc6c2), (999, 0x3c449ba5)] {
            assert_eq!(betas[t].to_bits(), bits, "beta at {t}");
        }
        let alphas = alphas_cumprod(&betas, false).expect("valid betas");
        for (t, bits) in [
            (0, 0x3f7fc84b),
            (1, 0x3f7f9054),
            (99, 0x3f653d07),
            (249, 0x3f2ce91e),
            (499, 0x3e8e2ab0),
            (749, 0x3d67edfd),
            (799, 0x3d1859c1),
            (999, 0x3b98b3b6),
        ] {
            assert_eq!(alphas[t].to_bits(), bits, "alpha at {t}");
        }
    }

    #[test]
    fn zero_snr_keeps_the_first_and_empties_the_last() {
        let betas = betas(BetaSchedule::ScaledLinear, 0.00085, 0.012, 1000);
        let alphas = alphas_cumprod(&betas, true).expect("valid betas");
        assert_eq!(alphas[0].to_bits(), 0x3f7fc84b);
        // torch's square root is one unit off the nearest f32 somewhere on the way.
        assert!(alphas[499].to_bits().abs_diff(0x3e782cf5) <= 1);
        assert_eq!(alphas[999], 0.0);
        assert!((alphas[998] - 1.968e-7).abs() < 1e-10);
    }
}
