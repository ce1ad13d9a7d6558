//! How much and when a ControlNet has a say.

use burn::tensor::Tensor;
use hypersd_models::unet::Residuals;

use crate::error::Error;

/// How strongly a ControlNet guides, and at which share of the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Multiplies all residuals. 1 is as trained; Hyper-SD's card takes 0.5 for SDXL.
    pub scale: f32,
    /// Share of the steps that is over before the first one guided, 0 to 1.
    pub start: f64,
    /// Share of the steps that is over after the last one guided, 0 to 1.
    pub end: f64,
    /// Whether the network shall guess what the control image shows, without a prompt: the residuals of large images
    /// are weakened, down to a tenth. With guidance, only the half of the batch with the prompt is then guided
    /// ([`after_zeros`]).
    pub guess_mode: bool,
}

impl Default for Strength {
    fn default() -> Self {
        Self { scale: 1.0, start: 0.0, end: 1.0, guess_mode: false }
    }
}

impl Strength {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`hypersd_core::Error::Argument`] for a scale that is not finite and for shares that are not
    /// 0 ≤ start < end ≤ 1.
    pub fn validate(&self) -> Result<(), Error> {
        if !self.scale.is_finite() {
            return Err(Error::argument("control scale", "a finite number", self.scale));
        }
        if !(0.0 <= self.start && self.start < self.end && self.end <= 1.0) {
            let found = format!("{} to {}", self.start, self.end);
            return Err(Error::argument("control start and end", "0 ≤ start < end ≤ 1", found));
        }
        Ok(())
    }

    /// Whether step `step` (from 0) of `steps` is guided. A step counts only if it lies wholly between start and end,
    /// as in diffusers.
    #[must_use]
    pub fn guides(&self, step: usize, steps: usize) -> bool {
        let share = |step: usize| step as f64 / steps as f64;
        self.scale != 0.0 && share(step) >= self.start && share(step + 1) <= self.end
    }

    /// One factor for each of `down` skips, then one for the middle.
    pub(crate) fn factors(&self, down: usize) -> Vec<f32> {
        let exponent = |i: usize| i as f64 / down as f64 - 1.0; // from -1 to 0
        let guess = |i: usize| if self.guess_mode { 10_f64.powf(exponent(i)) as f32 } else { 1.0 };
        (0..=down).map(|i| self.scale * guess(i)).collect()
    }
}

/// The residuals of a prompt, after as many zeros: for a batch that holds the negative prompt first. This is how
/// guess mode, and a ControlNet with `global_pool_conditions`, guide under classifier-free guidance.
#[must_use]
pub fn after_zeros(residuals: Residuals) -> Residuals {
    let after_zeros = |x: Tensor<4>| Tensor::cat(vec![x.zeros_like(), x], 0);
    Residuals { down: residuals.down.into_iter().map(after_zeros).collect(), mid: after_zeros(residuals.mid) }
}

#[cfg(test)]
mod tests {
    use super::Strength;

    /// The steps of `steps` that are guided.
    fn guided(start: f64, end: f64, steps: usize) -> Vec<usize> {
        let strength = Strength { start, end, ..Strength::default() };
        strength.validate().unwrap();
        (0..steps).filter(|&step| strength.guides(step, steps)).collect()
    }

    #[test]
    fn a_step_is_guided_if_it_lies_within() {
        // diffusers: 1 - (i/N < start or (i+1)/N > end)
        assert_eq!(guided(0.0, 1.0, 3), [0, 1, 2]);
        assert_eq!(guided(0.25, 0.75, 4), [1, 2]);
        assert_eq!(guided(0.3, 0.75, 4), [2]);
        assert_eq!(guided(0.0, 0.74, 4), [0, 1]);
        assert_eq!(guided(0.5, 1.0, 1), [0; 0]);
        assert_eq!(guided(0.0, 0.5, 0), [0; 0]);
        let off = Strength { scale: 0.0, ..Strength::default() };
        assert!(!off.guides(0, 1), "nothing to add");
    }

    #[test]
    fn guess_mode_weakens_large_images_most() {
        let strength = Strength { scale: 2.0, guess_mode: true, ..Strength::default() };
        // 2 · 10^(-1, -1/2, 0)
        assert_eq!(strength.factors(2), [0.2, 0.632_455_5, 2.0]);
        assert_eq!(Strength { guess_mode: false, ..strength }.factors(2), [2.0; 3]);
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let refusal = |strength: Strength| strength.validate().unwrap_err().to_string();
        let whole = Strength::default();
        for scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(
                refusal(Strength { scale, ..whole }).starts_with("control scale: expected a finite number")
            );
        }
        for (start, end) in
            [(0.5, 0.5), (0.6, 0.5), (-0.1, 1.0), (0.0, 1.1), (f64::NAN, 1.0), (0.0, f64::NAN)]
        {
            let refusal = refusal(Strength { start, end, ..whole });
            assert!(refusal.contains(&format!("0 ≤ start < end ≤ 1, found {start} to {end}")), "{refusal}");
        }
    }
}
