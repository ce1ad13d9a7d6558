//! Linear forms in what a step knows, so that an algorithm reads as in its paper and ends as a few numbers.

use std::ops::{Add, Mul, Neg, Sub};

/// x·`x` + output·`output` + x0·`x0` + noise·`noise` + Σ earlier_x\[k\]·`x k+1 steps earlier` +
/// Σ earlier_x0\[k\]·`x0 k+1 steps earlier` + Σ earlier_output\[k\]·`output k+1 steps earlier`.
///
/// Coefficients are put together in f64 from the f32 numbers that diffusers works with, and rounded to f32 once,
/// when they meet a tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Linear {
    /// Of the latent.
    pub x: f64,
    /// Of the model's output.
    pub output: f64,
    /// Of the predicted clean latent (clamped, where the step clamps).
    pub x0: f64,
    /// Of fresh noise.
    pub noise: f64,
    /// Of the latents that earlier steps went on from, the last first.
    pub earlier_x: [f64; Linear::REACH],
    /// Of the clean latents that earlier steps predicted, the last first.
    pub earlier_x0: [f64; Linear::REACH],
    /// Of what the model said in earlier steps, the last first.
    pub earlier_output: [f64; Linear::OUTPUTS],
}

impl Linear {
    /// The number of steps a form can look back on latents and on clean latents.
    pub const REACH: usize = 4;
    /// The number of steps it can look back on what the model said: as far as PNDM does after its Runge-Kutta steps, over the
    /// evaluations between that it leaves out.
    pub const OUTPUTS: usize = 12;

    const ZERO: Self = Self {
        x: 0.0,
        output: 0.0,
        x0: 0.0,
        noise: 0.0,
        earlier_x: [0.0; Self::REACH],
        earlier_x0: [0.0; Self::REACH],
        earlier_output: [0.0; Self::OUTPUTS],
    };
    pub(crate) const X: Self = Self { x: 1.0, ..Self::ZERO };
    pub(crate) const OUTPUT: Self = Self { output: 1.0, ..Self::ZERO };
    pub(crate) const X0: Self = Self { x0: 1.0, ..Self::ZERO };
    pub(crate) const NOISE: Self = Self { noise: 1.0, ..Self::ZERO };

    /// The latent that the step `back` steps earlier went on from; 1 is the last step, [`REACH`](Self::REACH) the
    /// oldest.
    pub(crate) fn earlier_x(back: usize) -> Self {
        let mut form = Self::ZERO;
        form.earlier_x[back - 1] = 1.0;
        form
    }

    /// The clean latent that was predicted `back` steps earlier.
    pub(crate) fn earlier_x0(back: usize) -> Self {
        let mut form = Self::ZERO;
        form.earlier_x0[back - 1] = 1.0;
        form
    }

    /// What the model said `back` steps earlier.
    pub(crate) fn earlier_output(back: usize) -> Self {
        let mut form = Self::ZERO;
        form.earlier_output[back - 1] = 1.0;
        form
    }

    /// The form with its latent and its output replaced by forms.
    pub(crate) fn of(self, x: Self, output: Self) -> Self {
        Self { x: 0.0, output: 0.0, ..self } + self.x * x + self.output * output
    }

    /// Tells whether every coefficient is a number as f32.
    pub(crate) fn is_finite(self) -> bool {
        let [x, output, x0, noise] = [self.x, self.output, self.x0, self.noise];
        let coefficients = [x, output, x0, noise].into_iter().chain(self.earlier_x).chain(self.earlier_x0);
        coefficients.chain(self.earlier_output).all(|c| (c as f32).is_finite())
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            x: f(self.x),
            output: f(self.output),
            x0: f(self.x0),
            noise: f(self.noise),
            earlier_x: self.earlier_x.map(&f),
            earlier_x0: self.earlier_x0.map(&f),
            earlier_output: self.earlier_output.map(&f),
        }
    }
}

impl Add for Linear {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        fn sum<const N: usize>(a: [f64; N], b: [f64; N]) -> [f64; N] {
            std::array::from_fn(|k| a[k] + b[k])
        }
        Self {
            x: self.x + other.x,
            output: self.output + other.output,
            x0: self.x0 + other.x0,
            noise: self.noise + other.noise,
            earlier_x: sum(self.earlier_x, other.earlier_x),
            earlier_x0: sum(self.earlier_x0, other.earlier_x0),
            earlier_output: sum(self.earlier_output, other.earlier_output),
        }
    }
}

impl Mul<Linear> for f64 {
    type Output = Linear;

    fn mul(self, form: Linear) -> Linear {
        form.map(|c| self * c)
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
