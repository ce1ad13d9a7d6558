//! The scale of a ControlNet's residuals.

/// The scale of a ControlNet's residuals: diffusers' arguments `conditioning_scale` and `guess_mode`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualScale {
    /// Multiplies all residuals. 1 is as trained.
    pub conditioning_scale: f32,
    /// Weakens the residuals of large images, down to a tenth, so that the network may guess what the control image
    /// shows without a prompt. A network with `global_pool_conditions` takes no notice of it.
    pub guess_mode: bool,
}

impl Default for ResidualScale {
    fn default() -> Self {
        Self { conditioning_scale: 1.0, guess_mode: false }
    }
}

impl ResidualScale {
    /// Checks the number.
    ///
    /// # Errors
    /// [`hypersd_core::Error::Argument`] for a scale that is not finite.
    pub fn validate(&self) -> Result<(), hypersd_core::Error> {
        if self.conditioning_scale.is_finite() {
            return Ok(());
        }
        Err(hypersd_core::Error::Argument {
            argument: "control scale",
            expected: "a finite number".into(),
            found: self.conditioning_scale.to_string(),
        })
    }

    /// One factor for each of `down` skips, then one for the middle.
    pub(crate) fn factors(&self, down: usize) -> Vec<f32> {
        let exponent = |i: usize| i as f64 / down as f64 - 1.0; // from -1 to 0
        let guess = |i: usize| if self.guess_mode { 10_f64.powf(exponent(i)) as f32 } else { 1.0 };
        (0..=down).map(|i| self.conditioning_scale * guess(i)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guess_mode_weakens_large_images_most() {
        let scale = ResidualScale { conditioning_scale: 2.0, guess_mode: true };
        // 2 · 10^(-1, -1/2, 0)
        assert_eq!(scale.factors(2), [0.2, 0.632_455_5, 2.0]);
        assert_eq!(ResidualScale { guess_mode: false, ..scale }.factors(2), [2.0; 3]);
    }

    #[test]
    fn scales_that_mean_nothing_are_refused() {
        for conditioning_scale in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error =
                ResidualScale { conditioning_scale, ..ResidualScale::default() }.validate().unwrap_err();
            assert!(error.to_string().starts_with("control scale: expected a finite number"), "{error}");
        }
    }
}
