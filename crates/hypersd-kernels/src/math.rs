//! Exponential, sigmoid and error function on vectors.
//!
//! The coefficients are minimax fits made by `reference/kernel_polynomials.py`.

#![expect(clippy::excessive_precision, reason = "the digits of the fit, rounded to f32 by the compiler")]

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use crate::simd::Simd;

/// 2^f on [-1/2, 1/2], constant term first, relative error 2e-9 before rounding.
const EXP2: [f32; 7] = [
    1.0,
    0.693_147_202_838,
    0.240_226_479_023,
    0.055_503_324_997_8,
    0.009_618_438_588_34,
    0.001_339_886_475_07,
    0.000_153_530_511_375,
];

/// What is left of log2(e) after its f32.
const LOG2_E_LOW: f32 = (std::f64::consts::LOG2_E - LOG2_E as f64) as f32;

/// Numerator and denominator of erf(x) / x in x², constant term first, relative error 6e-8 for |x| <= 4.
const ERF_TOP: [f32; 7] = [
    1.128_379_094_52,
    0.207_136_370_748,
    0.051_526_448_245_1,
    0.003_991_019_813_06,
    0.000_147_294_826_515,
    -1.942_302_450_65e-6,
    1.911_000_426_48e-8,
];
const ERF_BOTTOM: [f32; 5] =
    [1.0, 0.516_901_080_763, 0.117_975_413_848, 0.014_959_040_239_7, 0.001_021_211_763_46];

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, coefficients: &[f32; N], x: S::V) -> S::V {
    let mut value = simd.splat(coefficients[N - 1]);
    for &coefficient in coefficients[..N - 1].iter().rev() {
        value = simd.mul_add(value, x, simd.splat(coefficient));
    }
    value
}

/// 2^x; 0 below -127 or where f32 ends, infinite from 127.5 on, NaN for NaN.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.max(simd.splat(S::LEAST_POWER), simd.min(simd.splat(128.0), x));
    let whole = simd.round(x);
    let value = polynomial(simd, &EXP2, simd.sub(x, whole));
    simd.scale(value, whole)
}

/// e^x; below 2^-126 if x is below -88, infinite from 88.4 on, NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    let log2_e = simd.splat(LOG2_E);
    let x = simd.max(simd.splat(-88.0), simd.min(simd.splat(89.0), x));
    let whole = simd.round(simd.mul(x, log2_e));
    // x log2(e) - whole, in two steps so that its rounding does not grow with x.
    let fraction = simd.mul_add(x, log2_e, simd.sub(simd.splat(0.0), whole));
    let fraction = simd.mul_add(x, simd.splat(LOG2_E_LOW), fraction);
    simd.scale(polynomial(simd, &EXP2, fraction), whole)
}

/// x / (1 + e^(-slope x)): SiLU for a slope of 1.
#[inline(always)]
pub(crate) fn silu<S: Simd>(simd: S, x: S::V, slope: f32) -> S::V {
    let e = exp(simd, simd.mul(x, simd.splat(-slope)));
    simd.div(x, simd.add(simd.splat(1.0), e))
}

/// x Φ(x) = x (1 + erf(x / √2)) / 2.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    let half = simd.mul(x, simd.splat(0.5));
    simd.mul_add(half, erf(simd, simd.mul(x, simd.splat(FRAC_1_SQRT_2))), half)
}

/// The error function; ±1 beyond ±4, where it differs from them by less than half a unit in the last place of f32.
#[inline(always)]
fn erf<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.max(simd.splat(-4.0), simd.min(simd.splat(4.0), x));
    let square = simd.mul(x, x);
    let top = simd.mul(x, polynomial(simd, &ERF_TOP, square));
    let value = simd.div(top, polynomial(simd, &ERF_BOTTOM, square));
    simd.max(simd.splat(-1.0), simd.min(simd.splat(1.0), value))
}
