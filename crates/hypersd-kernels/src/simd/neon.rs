//! NEON on aarch64, where it is part of the baseline.

#![expect(unsafe_code, reason = "intrinsics that load and store take pointers")]

use std::arch::aarch64::*;

use super::Simd;

/// Eight f32 in two 128-bit registers: 24 of the 32 hold the register tile of a product.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// The token; every aarch64 processor that Rust supports has the instructions.
    pub(super) fn baseline() -> Self {
        Self(())
    }
}

/// Applies an intrinsic to both halves of its arguments.
macro_rules! halves {
    ($intrinsic:ident, $($argument:expr),+) => {
        [$intrinsic($($argument[0]),+), $intrinsic($($argument[1]),+)]
    };
}

/// 2^n in one half of a vector.
#[inline(always)]
fn power_of_two(n: float32x4_t) -> float32x4_t {
    // SAFETY: NEON is baseline on aarch64.
    unsafe {
        let exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
        vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
    }
}

impl Simd for Neon {
    type V = [float32x4_t; 2];
    const LANES: usize = 8;
    const TILE_PANELS: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: NEON is baseline on aarch64.
        unsafe { [vdupq_n_f32(value); 2] }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        // SAFETY: the caller's promise.
        unsafe {
            vst1q_f32(to, value[0]);
            vst1q_f32(to.add(4), value[1]);
        }
    }

    lane_wise! {
        add(a, b): halves!(vaddq_f32, a, b);
        sub(a, b): halves!(vsubq_f32, a, b);
        mul(a, b): halves!(vmulq_f32, a, b);
        div(a, b): halves!(vdivq_f32, a, b);
        mul_add(a, b, c): halves!(vfmaq_f32, c, a, b);
        /// A comparison and a choice: the instruction for the minimum returns NaN for either NaN.
        min(a, b): halves!(vbslq_f32, halves!(vcltq_f32, a, b), a, b);
        /// The same for the maximum.
        max(a, b): halves!(vbslq_f32, halves!(vcgtq_f32, a, b), a, b);
        round(a): halves!(vrndnq_f32, a);
    }

    #[inline(always)]
    fn power_of_two(self, n: Self::V) -> Self::V {
        n.map(power_of_two)
    }

    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        // SAFETY: NEON is baseline on aarch64.
        unsafe { vaddvq_f32(vaddq_f32(a[0], a[1])) }
    }

    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        // SAFETY: NEON is baseline on aarch64.
        unsafe { vmaxvq_f32(vmaxq_f32(a[0], a[1])) }
    }

    #[inline(always)]
    unsafe fn transpose8(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for (row, column) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
            // SAFETY: the quarter lies inside the 8 by 8 block that the caller vouches for.
            unsafe {
                let from = from.add(row * from_stride + column);
                let to = to.add(column * to_stride + row);
                let r = |i: usize| vld1q_f32(from.add(i * from_stride));
                let (low, high) = (vtrnq_f32(r(0), r(1)), vtrnq_f32(r(2), r(3)));
                let store = |i: usize, a, b| vst1q_f32(to.add(i * to_stride), vcombine_f32(a, b));
                store(0, vget_low_f32(low.0), vget_low_f32(high.0));
                store(1, vget_low_f32(low.1), vget_low_f32(high.1));
                store(2, vget_high_f32(low.0), vget_high_f32(high.0));
                store(3, vget_high_f32(low.1), vget_high_f32(high.1));
            }
        }
    }
}
