//! Linear forms in what a step knows, so that an algorithm reads as in its paper and ends as five numbers.

use std::ops::{Add, Mul, Neg, Sub};

/// x·`x` + output·`output` + x0·`x0` + previous·`previous x0` + noise·`noise`.
///
/// Coefficients are put together in f64 from the f32 numbers that diffusers works with, and rounded to f32 once,
/// when they meet a tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Linear {
    /// Of the latent.
    pub x: f64,
    /// Of the model's output.
    pub output: f64,
    /// Of the predicted clean latent (clamped, where the step clamps).
    pub x0: f64,
    /// Of the clean latent predicted one step earlier.
    pub previous: f64,
    /// Of fresh noise.
    pub noise: f64,
}

impl Linear {
    const ZERO: Self = Self { x: 0.0, output: 0.0, x0: 0.0, previous: 0.0, noise: 0.0 };
    pub(crate) const X: Self = Self { x: 1.0, ..Self::ZERO };
    pub(crate) const OUTPUT: Self = Self { output: 1.0, ..Self::ZERO };
    pub(crate) const X0: Self = Self { x0: 1.0, ..Self::ZERO };
    pub(crate) const PREVIOUS: Self = Self { previous: 1.0, ..Self::ZERO };
    pub(crate) const NOISE: Self = Self { noise: 1.0, ..Self::ZERO };

    /// Whether every coefficient is a number as f32.
    pub(crate) fn is_finite(self) -> bool {
        [self.x, self.output, self.x0, self.previous, self.noise].iter().all(|&c| (c as f32).is_finite())
    }

    /// The form for a step that has no past: the previous x0 taken to be the present one.
    pub(crate) fn without_past(self) -> Self {
        Self { x0: self.x0 + self.previous, previous: 0.0, ..self }
    }
}

impl Add for Linear {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            x: self.x + other.x,
            output: self.output + other.output,
            x0: self.x0 + other.x0,
            previous: self.previous + other.previous,
            noise: self.noise + other.noise,
        }
    }
}

impl Mul<Linear> for f64 {
    type Output = Linear;

    fn mul(self, form: Linear) -> Linear {
        Linear {
            x: self * form.x,
            output: self * form.output,
            x0: self * form.x0,
            previous: self * form.previous,
            noise: self * form.noise,
        }
    }
}

/// Coefficients that diffusers holds in f32.
impl Mul<Linear> for f32 {
    type Output = Linear;

    fn mul(self, form: Linear) -> Linear {
        f64::from(self) * form
    }
}

impl Neg for Linear {
    type Output = Self;

    fn neg(self) -> Self {
        -1.0_f64 * self
    }
}

impl Sub for Linear {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}
