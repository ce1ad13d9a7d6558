//! WebAssembly's SIMD. A module with an instruction that its host does not know is not loaded at all, so there is nothing to
//! detect: this is compiled where the whole program may use the instructions.

#![expect(unsafe_code, reason = "intrinsics that load and store take pointers")]

use std::arch::wasm32::*;

use half::{bf16, f16};

use super::{InstructionSet, Kernel, Simd};

/// Eight f32 in two vectors of 128 bits. Engines have 16 registers for them on x86-64, of which a register tile half a panel
/// wide fills 12.
#[derive(Clone, Copy)]
pub(crate) struct Wasm(());

impl Wasm {
    /// The instructions that the kernels are compiled for.
    pub(super) const NAME: InstructionSet = match cfg!(feature = "relaxed-simd") {
        true => InstructionSet::RelaxedSimd,
        false => InstructionSet::Simd128,
    };

    /// The token; the module is there only where the whole program is compiled for the instructions.
    pub(super) fn compiled_for() -> Self {
        Self(())
    }

    /// Runs `kernel` compiled for the instructions.
    #[inline]
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
        fn run<K: Kernel>(simd: Wasm, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        run(self, kernel)
    }
}

/// Applies a function of vectors of 128 bits to both halves of its arguments.
macro_rules! halves {
    ($function:ident, $($argument:expr),+) => {
        [$function($($argument[0]),+), $function($($argument[1]),+)]
    };
}

/// `a * b + c` in one half of a vector.
#[cfg(feature = "relaxed-simd")]
#[inline(always)]
fn mul_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_relaxed_madd(a, b, c)
}

/// `a * b + c` in one half of a vector, rounded twice.
#[cfg(not(feature = "relaxed-simd"))]
#[inline(always)]
fn mul_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_add(f32x4_mul(a, b), c)
}

/// The smaller, `b` if either is NaN: `pmin(b, a)` is `a < b ? a : b`.
#[inline(always)]
fn min(a: v128, b: v128) -> v128 {
    f32x4_pmin(b, a)
}

/// The larger, `b` if either is NaN.
#[inline(always)]
fn max(a: v128, b: v128) -> v128 {
    f32x4_pmax(b, a)
}

/// 2^n in one half of a vector. 1.5 · 2^23 and n have n in their lowest bits, without a conversion that saturates, which
/// takes several instructions of x86-64.
#[inline(always)]
fn power_of_two(n: v128) -> v128 {
    let biased = i32x4_add(f32x4_add(n, f32x4_splat(12_582_912.0)), i32x4_splat(127));
    i32x4_shl(biased, 23)
}

/// Four f16, in the lower halves of 32 bits, as f32: their bits moved into place make 2^-112 times the number, for denormal
/// ones too; infinity and NaN get the exponent that stands for them.
#[inline(always)]
fn widen_f16(bits: v128) -> v128 {
    let sign = i32x4_shl(v128_and(bits, i32x4_splat(0x8000)), 16);
    let rest = i32x4_shl(v128_and(bits, i32x4_splat(0x7fff)), 13);
    let finite = f32x4_mul(rest, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let special = v128_and(i32x4_ge(rest, i32x4_splat(0x7c00 << 13)), i32x4_splat(0x7f80_0000));
    v128_or(sign, v128_or(finite, special))
}

impl Simd for Wasm {
    type V = [v128; 2];
    const LANES: usize = 8;
    const TILE_PANELS: usize = 1;
    const HALF_PANELS: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [f32x4_splat(value); 2]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; the instruction takes any alignment.
        unsafe { [v128_load(from.cast()), v128_load(from.add(4).cast())] }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        // SAFETY: the caller's promise; the instruction takes any alignment.
        unsafe {
            v128_store(to.cast(), value[0]);
            v128_store(to.add(4).cast(), value[1]);
        }
    }

    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> Self::V {
        // SAFETY: the caller's promise; the instruction takes any alignment.
        let bits = unsafe { v128_load(from.cast()) };
        [widen_f16(u32x4_extend_low_u16x8(bits)), widen_f16(u32x4_extend_high_u16x8(bits))]
    }

    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> Self::V {
        // SAFETY: the caller's promise; the instruction takes any alignment.
        let bits = unsafe { v128_load(from.cast()) };
        [i32x4_shl(u32x4_extend_low_u16x8(bits), 16), i32x4_shl(u32x4_extend_high_u16x8(bits), 16)]
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(f32x4_add, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(f32x4_sub, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(f32x4_mul, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(f32x4_div, a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        halves!(mul_add, a, b, c)
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(min, a, b)
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(max, a, b)
    }

    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        halves!(f32x4_nearest, a)
    }

    #[inline(always)]
    fn power_of_two(self, n: Self::V) -> Self::V {
        halves!(power_of_two, n)
    }

    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        let four = f32x4_add(a[0], a[1]);
        let two = f32x4_add(four, i32x4_shuffle::<2, 3, 2, 3>(four, four));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }

    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        let four = max(a[0], a[1]);
        let two = max(four, i32x4_shuffle::<2, 3, 2, 3>(four, four));
        f32x4_extract_lane::<0>(max(two, i32x4_shuffle::<1, 1, 1, 1>(two, two)))
    }

    #[inline(always)]
    unsafe fn transpose8(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for (row, column) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            // SAFETY: the quarter lies inside the 8 by 8 block that the caller vouches for.
            unsafe {
                let from = from.add(row * from_stride + column);
                let to = to.add(column * to_stride + row);
                let r = |i: usize| v128_load(from.add(i * from_stride).cast());
                let (r0, r1, r2, r3) = (r(0), r(1), r(2), r(3));
                let (a, b) = (i32x4_shuffle::<0, 4, 1, 5>(r0, r1), i32x4_shuffle::<2, 6, 3, 7>(r0, r1));
                let (c, d) = (i32x4_shuffle::<0, 4, 1, 5>(r2, r3), i32x4_shuffle::<2, 6, 3, 7>(r2, r3));
                let store = |i: usize, v| v128_store(to.add(i * to_stride).cast(), v);
                store(0, i32x4_shuffle::<0, 1, 4, 5>(a, c));
                store(1, i32x4_shuffle::<2, 3, 6, 7>(a, c));
                store(2, i32x4_shuffle::<0, 1, 4, 5>(b, d));
                store(3, i32x4_shuffle::<2, 3, 6, 7>(b, d));
            }
        }
    }
}
