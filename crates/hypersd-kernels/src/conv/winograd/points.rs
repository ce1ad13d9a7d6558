//! The one-dimensional transforms, see [`Points`].
//!
//! With the polynomial M(x) = Π (x - p) over the finite points, the input transform of a point p has the coefficients of
//! M(x) / (x - p), the weight transform the powers of p over M'(p), the output transform the powers of p; infinity takes M
//! itself, the last weight and the last power. Products by ±p are shared between p and -p.

use std::f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};

use crate::simd::Simd;

/// The transforms of an algorithm for three weights: D pixels of the input and P values from which N pixels of the output
/// come. Neighbouring tiles are D - 2 pixels of the input apart.
pub(super) trait Points<const D: usize, const P: usize, const N: usize>: Copy + Sync {
    /// Bᵀ d: pixels to values.
    fn input<S: Simd>(self, simd: S, d: [S::V; D]) -> [S::V; P];
    /// G g: weights to values.
    fn weights<S: Simd>(self, simd: S, g: [S::V; 3]) -> [S::V; P];
    /// Aᵀ m: sums to pixels.
    fn output<S: Simd>(self, simd: S, m: [S::V; P]) -> [S::V; N];
}

/// F(4, 3) on the points 0, ±1/√2, ±√2 and infinity. Any six points give a correct algorithm; these leave half the rounding
/// error of the textbook's 0, ±1, ±2. M(x) = x (x² - 1/2) (x² - 2), a = 1/√2, b = √2.
#[derive(Clone, Copy)]
pub(super) struct F4;

impl Points<6, 6, 4> for F4 {
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

impl Points<4, 4, 2> for F2 {
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

/// Three weights on an input of which every pixel comes twice. Each pixel of the output then sees two of the input: those
/// at even places `g0` of the one before their own and `g1 + g2` of their own, those at odd places `g0 + g1` of their own and
/// `g2` of the one behind. That makes two F(4, 2), one pixel apart.
#[derive(Clone, Copy)]
pub(super) struct Doubled;

impl Points<6, 10, 8> for Doubled {
    #[inline(always)]
    fn input<S: Simd>(self, simd: S, [d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 10] {
        let [e0, e1, e2, e3, e4] = two::input(simd, [d0, d1, d2, d3, d4]);
        let [o0, o1, o2, o3, o4] = two::input(simd, [d1, d2, d3, d4, d5]);
        [e0, e1, e2, e3, e4, o0, o1, o2, o3, o4]
    }

    #[inline(always)]
    fn weights<S: Simd>(self, simd: S, [g0, g1, g2]: [S::V; 3]) -> [S::V; 10] {
        let [e0, e1, e2, e3, e4] = two::weights(simd, [g0, simd.add(g1, g2)]);
        let [o0, o1, o2, o3, o4] = two::weights(simd, [simd.add(g0, g1), g2]);
        [e0, e1, e2, e3, e4, o0, o1, o2, o3, o4]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, m: [S::V; 10]) -> [S::V; 8] {
        let [m0, m1, m2, m3, m4, n0, n1, n2, n3, n4] = m;
        let [e0, e1, e2, e3] = two::output(simd, [m0, m1, m2, m3, m4]);
        let [o0, o1, o2, o3] = two::output(simd, [n0, n1, n2, n3, n4]);
        [e0, o0, e1, o1, e2, o2, e3, o3]
    }
}

/// F(4, 2) on the points ±3/8, ±5/4 and infinity: M(x) = (x² - 9/64) (x² - 25/16), a = 3/8, b = 5/4. They are close to the
/// five that leave the smallest rounding error, which is 0.6 of that of [`F4`].
mod two {
    use super::{Simd, fused, scaled};

    const A: f32 = 0.375;
    const B: f32 = 1.25;
    /// M'(a) = 2a (a² - b²) = -M'(-a)
    const SLOPE_A: f32 = 2.0 * A * (A * A - B * B);
    /// M'(b) = 2b (b² - a²) = -M'(-b)
    const SLOPE_B: f32 = 2.0 * B * (B * B - A * A);

    #[inline(always)]
    pub(super) fn input<S: Simd>(simd: S, [d0, d1, d2, d3, d4]: [S::V; 5]) -> [S::V; 5] {
        let even_a = scaled(simd, A, fused(simd, -B * B, d0, d2));
        let odd_a = fused(simd, -B * B, d1, d3);
        let even_b = scaled(simd, B, fused(simd, -A * A, d0, d2));
        let odd_b = fused(simd, -A * A, d1, d3);
        [
            simd.add(odd_a, even_a),
            simd.sub(odd_a, even_a),
            simd.add(odd_b, even_b),
            simd.sub(odd_b, even_b),
            fused(simd, -A * A - B * B, d2, fused(simd, A * A * B * B, d0, d4)),
        ]
    }

    #[inline(always)]
    pub(super) fn weights<S: Simd>(simd: S, [g0, g1]: [S::V; 2]) -> [S::V; 5] {
        let (even_a, odd_a) = (scaled(simd, 1.0 / SLOPE_A, g0), scaled(simd, A / SLOPE_A, g1));
        let (even_b, odd_b) = (scaled(simd, 1.0 / SLOPE_B, g0), scaled(simd, B / SLOPE_B, g1));
        [
            simd.add(odd_a, even_a),
            simd.sub(odd_a, even_a),
            simd.add(odd_b, even_b),
            simd.sub(odd_b, even_b),
            g1,
        ]
    }

    #[inline(always)]
    pub(super) fn output<S: Simd>(simd: S, [m0, m1, m2, m3, m4]: [S::V; 5]) -> [S::V; 4] {
        let (even_a, odd_a) = (simd.add(m0, m1), simd.sub(m0, m1));
        let (even_b, odd_b) = (simd.add(m2, m3), simd.sub(m2, m3));
        [
            simd.add(even_a, even_b),
            fused(simd, A, odd_a, scaled(simd, B, odd_b)),
            fused(simd, A * A, even_a, scaled(simd, B * B, even_b)),
            simd.add(m4, fused(simd, A * A * A, odd_a, scaled(simd, B * B * B, odd_b))),
        ]
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
