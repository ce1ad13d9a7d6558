//! The strength of a ControlNet, and the steps that it guides in.

use burn::tensor::Tensor;
use hypersd_core::Error;
use hypersd_models::{controlnet::ResidualScale, unet::Residuals};

use crate::argument;

/// The strength of a ControlNet, and the share of the steps that it guides in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Multiplies all residuals. 1 is as trained; Hyper-SD's card takes 0.5 for SDXL.
    pub scale: f32,
    /// Share of the steps that is over before the first one guided, 0 to 1.
    pub start: f64,
    /// Share of the steps that is over after the last one guided, 0 to 1.
    pub end: f64,
    /// True where the network shall guess what the control image shows, without a prompt: the residuals of large images
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
    /// [`Error::Argument`] for a scale that is not finite and for shares that are not
    /// 0 ≤ start < end ≤ 1.
    pub fn validate(&self) -> Result<(), Error> {
        self.residual_scale().validate()?;
        if !(0.0 <= self.start && self.start < self.end && self.end <= 1.0) {
            let found = format!("{} to {}", self.start, self.end);
            return Err(argument("control start and end", "0 ≤ start < end ≤ 1", found));
        }
        Ok(())
    }

    /// True where step `step` (from 0) of `steps` is guided. A step counts only if it lies wholly between start and end,
    /// as in diffusers.
    #[must_use]
    pub fn guides(&self, step: usize, steps: usize) -> bool {
        let share = |step: usize| step as f64 / steps as f64;
        self.scale != 0.0 && share(step) >= self.start && share(step + 1) <= self.end
    }

    /// The part that the network takes, in the steps that are guided.
    #[must_use]
    pub fn residual_scale(&self) -> ResidualScale {
        ResidualScale { conditioning_scale: self.scale, guess_mode: self.guess_mode }
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
