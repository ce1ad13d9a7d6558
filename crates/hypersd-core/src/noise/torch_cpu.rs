//! PyTorch's `randn` on the CPU.
//!
//! It is two algorithms. From 16 elements on, the uniforms fill the output in f32 and Box–Muller turns blocks of
//! 16 in place, with vector approximations of ln, sin and cos (those of the Cephes library) that are part of the
//! stream: another logarithm gives other last bits. Below 16, numbers are made in f64 one pair at a time, and the
//! second of a pair is kept for the next small draw.

#![expect(clippy::excessive_precision, reason = "constants are spelled as they were published")]

use std::f32::consts::TAU;

use super::mt19937::Mt19937;

/// Elements that the block algorithm turns at once, and the smallest draw that it takes.
const BLOCK: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct TorchCpu {
    words: Mt19937,
    /// The second value of the last pair; only small draws read or write it.
    cached: Option<f64>,
}

impl TorchCpu {
    pub(super) fn new(seed: u64) -> Self {
        Self { words: Mt19937::new(seed as u32), cached: None } // PyTorch drops the high half too
    }

    pub(super) fn normal(&mut self, n: usize) -> Vec<f32> {
        if n < BLOCK {
            return (0..n).map(|_| self.one() as f32).collect();
        }
        let mut x: Vec<f32> = (0..n).map(|_| self.uniform()).collect();
        let (blocks, tail) = x.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(box_muller);
        if !tail.is_empty() {
            // The last 16 are drawn afresh, over those of them that were done.
            let last: &mut [f32; BLOCK] = x.last_chunk_mut().expect("at least 16 elements");
            last.fill_with(|| self.uniform());
            box_muller(last);
        }
        x
    }

    /// Uniform in [0, 1), 24 bits.
    fn uniform(&mut self) -> f32 {
        (self.words.u32() & 0xff_ffff) as f32 * (-24_f32).exp2()
    }

    /// Uniform in [0, 1), 53 bits.
    fn uniform_f64(&mut self) -> f64 {
        (self.words.u64() & ((1 << 53) - 1)) as f64 * (-53_f64).exp2()
    }

    fn one(&mut self) -> f64 {
        if let Some(second) = self.cached.take() {
            return second;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let r = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * u1).sin_cos();
        self.cached = Some(r * sin);
        r * cos
    }
}

/// Uniforms to normals in place: the first eight give radii, the last eight angles.
fn box_muller(x: &mut [f32; BLOCK]) {
    for j in 0..BLOCK / 2 {
        let r = (-2.0 * ln(1.0 - x[j])).sqrt();
        let (sin, cos) = sin_cos(TAU * x[j + BLOCK / 2]);
        // PyTorch adds the mean: + 0 makes of -0 a 0.
        x[j] = r * cos + 0.0;
        x[j + BLOCK / 2] = r * sin + 0.0;
    }
}

/// Cephes' `logf` for positive normal numbers, fused as PyTorch's AVX2 kernel is.
fn ln(x: f32) -> f32 {
    const P: [f32; 9] = [
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    ];
    // x = m · 2^e with m in [0.5, 1), moved to [√½, √2) - 1
    let m = f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f00_0000);
    let e = (x.to_bits() >> 23) as f32 - 126.0;
    let (x, e) = if m < std::f32::consts::FRAC_1_SQRT_2 { ((m - 1.0) + m, e - 1.0) } else { (m - 1.0, e) };
    let z = x * x;
    let y = P[1..].iter().fold(P[0], |y, &p| y.mul_add(x, p)) * x;
    let y = y.mul_add(z, e * -2.12194440e-4); // ln 2 in two parts: this and 0.693359375
    let y = (-z).mul_add(0.5, y);
    e.mul_add(0.693359375, x + y)
}

/// Cephes' `sinf` and `cosf` for angles from 0 to 2π, fused as PyTorch's AVX2 kernel is.
fn sin_cos(x: f32) -> (f32, f32) {
    let octant = ((x * 1.27323954473516) as i32 + 1) & !1; // 4/π; the even one that is nearest
    let j = octant as f32;
    // x - j·π/4, with π/4 in three parts
    let x = j.mul_add(-0.78515625, x);
    let x = j.mul_add(-2.4187564849853515625e-4, x);
    let x = j.mul_add(-3.77489497744594108e-8, x);
    let z = x * x;

    let c = 2.443315711809948e-5_f32.mul_add(z, -1.388731625493765e-3);
    let c = c.mul_add(z, 4.166664568298827e-2) * z;
    let c = c.mul_add(z, -(z * 0.5)) + 1.0;

    let s = (-1.9515295891e-4_f32).mul_add(z, 8.3321608736e-3);
    let s = s.mul_add(z, -1.6666654611e-1) * z;
    let s = s.mul_add(x, x);

    let (sin, cos) = if octant & 2 == 0 { (s, c) } else { (c, s) };
    (if octant & 4 == 0 { sin } else { -sin }, if (octant - 2) & 4 == 0 { -cos } else { cos })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.randn(20)` after `torch.manual_seed(0)`: one block, of which four stay, and a redrawn tail.
    const SEED_0_OF_20: [u32; 20] = [
        0xbf901b85, 0xbf93808a, 0xbe804bd6, 0xbede255d, 0x3f194d8b, 0xbfc70d5b, 0xbeaec6ca, 0x3fed2f4e,
        0x3eefaa55, 0xbe217f5f, 0x3fb8c9db, 0x3e8837a1, 0x3fb1d6c0, 0x3fcb0d00, 0x3f72409c, 0xbf57fb33,
        0x3f6e8c30, 0x3fa12737, 0x4000519a, 0x3d5c1b3a,
    ];
    /// `torch.randn(8)` after `torch.manual_seed(0)`.
    const SEED_0_OF_8: [u32; 8] =
        [0x3fc53f5c, 0xbe963c50, 0xc00b7149, 0x3f1184b6, 0xbf8ad1a1, 0xbfb3052d, 0x3ece837a, 0x3f5688e5];

    fn bits(x: Vec<f32>) -> Vec<u32> {
        x.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn both_algorithms_start_as_torchs() {
        assert_eq!(bits(TorchCpu::new(0).normal(20)), SEED_0_OF_20);
        assert_eq!(bits(TorchCpu::new(0).normal(8)), SEED_0_OF_8);
    }

    #[test]
    fn a_large_draw_keeps_the_cached_value_of_the_small_ones() {
        let mut stream = TorchCpu::new(0);
        stream.normal(7);
        stream.normal(16);
        assert_eq!(bits(stream.normal(1)), SEED_0_OF_8[7..]);
    }

    #[test]
    fn the_approximations_are_good_to_an_ulp_or_so() {
        for i in 1..=1 << 12 {
            let u = i as f32 / (1 << 12) as f32;
            let error = f64::from(ln(u)) - f64::from(u).ln();
            assert!(error.abs() <= 1e-7 * f64::from(u).ln().abs(), "ln {u}: off by {error}");
            let angle = TAU * (1.0 - u);
            let (sin, cos) = sin_cos(angle);
            let (want_sin, want_cos) = f64::from(angle).sin_cos();
            assert!((f64::from(sin) - want_sin).abs() < 1e-7, "sin {angle}");
            assert!((f64::from(cos) - want_cos).abs() < 1e-7, "cos {angle}");
        }
    }
}
