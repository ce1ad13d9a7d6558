//! The one-dimensional transforms, see [`Points`].
//!
//! With the polynomial M(x) = Π (x - p) over the finite points, the input transform of a point p has the coefficients of
//! M(x) / (x - p), the weight transform the powers of p over M'(p), the output transform the powers of p; infinity takes M
//! itself, the last weight and the last power. Products by ±p are shared between p and -p.

use std::f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};

use crate::simd::Simd;

/// The transforms of F(N, 3) on P = N + 2 points: N pixels of the output from P of the input.
pub(super) trait Points<const P: usize, const N: usize>: Copy + Sync {
    /// Bᵀ d: pixels to values.
    fn input<S: Simd>(self, simd: S, d: [S::V; P]) -> [S::V; P];
    /// G g: weights to values.
    fn weights<S: Simd>(self, simd: S, g: [S::V; 3]) -> [S::V; P];
    /// Aᵀ m: sums to pixels.
    fn output<S: Simd>(self, simd: S, m: [S::V; P]) -> [S::V; N];
}

/// F(4, 3) on the points 0, ±1/√2, ±√2 and infinity. Any six points give a correct algorithm; these leave half the rounding
/// error of the textbook's 0, ±1, ±2. M(x) = x (x² - 1/2) (x² - 2), a = 1/√2, b = √2.
#[derive(Clone, Copy)]
pub(super) struct F4;

impl Points<6, 4> for F4 {
    #[inline(always)]
    fn input<S: Simd>(self, simd: S, [d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 6] {
        let even_a = fused(simd, -2.0, d2, d4);
        let odd_a = fused(simd, -B, d1, simd.mul(simd.splat(A), d3));
        let even_b = fused(simd, -0.5, d2, d4);
        let odd_b = fused(simd, -A, d1, simd.mul(simd.splat(B), d3));
        [
            fused(simd, -2.5, d2, simd.add(d0, d4)),
            simd.add(even_a, odd_a),
            simd.sub(even_a, odd_a),
            simd.add(even_b, odd_b),
            simd.sub(even_b, odd_b),
            fused(simd, -2.5, d3, simd.add(d1, d5)),
        ]
    }

    #[inline(always)]
    fn weights<S: Simd>(self, simd: S, [g0, g1, g2]: [S::V; 3]) -> [S::V; 6] {
        // M'(±a) = -3/2, M'(±b) = 6.
        let even_a = fused(simd, -2.0 / 3.0, g0, scaled(simd, -1.0 / 3.0, g2));
        let odd_a = scaled(simd, -2.0 / 3.0 * A, g1);
        let even_b = fused(simd, 1.0 / 6.0, g0, scaled(simd, 1.0 / 3.0, g2));
        let odd_b = scaled(simd, B / 6.0, g1);
        [
            g0,
            simd.add(even_a, odd_a),
            simd.sub(even_a, odd_a),
            simd.add(even_b, odd_b),
            simd.sub(even_b, odd_b),
            g2,
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, [m0, m1, m2, m3, m4, m5]: [S::V; 6]) -> [S::V; 4] {
        let (even_a, odd_a) = (simd.add(m1, m2), simd.sub(m1, m2));
        let (even_b, odd_b) = (simd.add(m3, m4), simd.sub(m3, m4));
        [
            simd.add(m0, simd.add(even_a, even_b)),
            fused(simd, A, odd_a, scaled(simd, B, odd_b)),
            fused(simd, 0.5, even_a, scaled(simd, 2.0, even_b)),
            // a³ = a/2, b³ = 2b
            simd.add(m5, fused(simd, 0.5 * A, odd_a, scaled(simd, 2.0 * B, odd_b))),
        ]
    }
}

/// F(2, 3) on the points 0, ±1 and infinity: M(x) = x (x² - 1), with the signs of the textbook.
#[derive(Clone, Copy)]
pub(super) struct F2;

impl Points<4, 2> for F2 {
    #[inline(always)]
    fn input<S: Simd>(self, simd: S, [d0, d1, d2, d3]: [S::V; 4]) -> [S::V; 4] {
        [simd.sub(d0, d2), simd.add(d1, d2), simd.sub(d2, d1), simd.sub(d1, d3)]
    }

    #[inline(always)]
    fn weights<S: Simd>(self, simd: S, [g0, g1, g2]: [S::V; 3]) -> [S::V; 4] {
        let (even, odd) = (scaled(simd, 0.5, simd.add(g0, g2)), scaled(simd, 0.5, g1));
        [g0, simd.add(even, odd), simd.sub(even, odd), g2]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, [m0, m1, m2, m3]: [S::V; 4]) -> [S::V; 2] {
        [simd.add(m0, simd.add(m1, m2)), simd.sub(simd.sub(m1, m2), m3)]
    }
}

/// `factor * x`.
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::V) -> S::V {
    simd.mul(simd.splat(factor), x)
}

/// `factor * x + y`.
#[inline(always)]
fn fused<S: Simd>(simd: S, factor: f32, x: S::V, y: S::V) -> S::V {
    simd.mul_add(simd.splat(factor), x, y)
}
