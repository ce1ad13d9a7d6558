//! Products of words on x86-64.

#![expect(unsafe_code, reason = "intrinsics need the instructions that the token types prove, and pointers")]

use std::arch::{is_x86_feature_detected, x86_64::*};

use super::{Dot, NarrowKernel};
use crate::simd::x86::Avx2;

/// `vpdpbusd` on 512 bits: 64 products of bytes, in sums of four.
#[derive(Clone, Copy)]
pub(super) struct Vnni512<const WEIGHT_ROWS: bool>(());

/// `vpdpbusd` on 256 bits.
#[derive(Clone, Copy)]
pub(super) struct Vnni256<const WEIGHT_ROWS: bool>(());

/// AVX2, which has products of bytes too (`vpmaddubsw`), but with sums of two that saturate. So bytes are widened to 16
/// bits first and multiplied by `vpmaddwd`, which is exact.
#[derive(Clone, Copy)]
pub(super) struct Bytes256<const WEIGHT_ROWS: bool>(());

/// `vdpbf16ps` on 512 bits: 32 products of bf16, in sums of two.
#[derive(Clone, Copy)]
pub(super) struct Bf16(());

impl<const WEIGHT_ROWS: bool> Vnni512<WEIGHT_ROWS> {
    /// The token, if this processor has the instructions.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        all.then_some(Self(()))
    }

    /// Runs `kernel` compiled for them.
    #[inline]
    pub(super) fn enter(self, kernel: impl NarrowKernel<i32>) {
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn run<D: Dot<Sum = i32>>(dot: D, kernel: impl NarrowKernel<i32>) {
            kernel.run(dot);
        }
        // SAFETY: `self` exists only where the features were detected.
        unsafe { run(self, kernel) }
    }
}

impl<const WEIGHT_ROWS: bool> Vnni256<WEIGHT_ROWS> {
    /// The token, where `isa` was chosen because the processor has the instructions.
    #[inline]
    pub(super) fn of(_: crate::simd::x86::AvxVnni) -> Self {
        Self(())
    }

    /// Runs `kernel` compiled for them.
    #[inline]
    pub(super) fn enter(self, kernel: impl NarrowKernel<i32>) {
        #[target_feature(enable = "avx2,fma,avxvnni")]
        fn run<D: Dot<Sum = i32>>(dot: D, kernel: impl NarrowKernel<i32>) {
            kernel.run(dot);
        }
        // SAFETY: `self` exists only where the features were detected.
        unsafe { run(self, kernel) }
    }
}

impl<const WEIGHT_ROWS: bool> Bytes256<WEIGHT_ROWS> {
    #[inline]
    pub(super) fn of(_: Avx2) -> Self {
        Self(())
    }

    /// Runs `kernel` compiled for AVX2.
    #[inline]
    pub(super) fn enter(self, kernel: impl NarrowKernel<i32>) {
        #[target_feature(enable = "avx2,fma")]
        fn run<D: Dot<Sum = i32>>(dot: D, kernel: impl NarrowKernel<i32>) {
            kernel.run(dot);
        }
        // SAFETY: `self` was made from the proof that the processor has them.
        unsafe { run(self, kernel) }
    }
}

impl Bf16 {
    /// The token, if this processor has the instructions.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
        all.then_some(Self(()))
    }

    /// Runs `kernel` compiled for them.
    #[inline]
    pub(super) fn enter(self, kernel: impl NarrowKernel<f32>) {
        #[target_feature(enable = "avx512f,avx512bf16")]
        fn run<D: Dot<Sum = f32>>(dot: D, kernel: impl NarrowKernel<f32>) {
            kernel.run(dot);
        }
        // SAFETY: `self` exists only where the features were detected.
        unsafe { run(self, kernel) }
    }
}

impl<const WEIGHT_ROWS: bool> Dot for Vnni512<WEIGHT_ROWS> {
    type Sum = i32;
    type Sums = __m512i;
    type Row = __m512i;
    type Columns = __m512i;
    const ROWS: usize = 6;
    const PANELS: usize = 4; // 24 accumulators of the 32 registers

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> __m512i {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_set1_epi32((*from).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> __m512i {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn add(self, sums: __m512i, row: __m512i, columns: __m512i) -> __m512i {
        let (inputs, weights) = if WEIGHT_ROWS { (columns, row) } else { (row, columns) };
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(sums, inputs, weights) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32, sums: __m512i) {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }
}

impl<const WEIGHT_ROWS: bool> Dot for Vnni256<WEIGHT_ROWS> {
    type Sum = i32;
    type Sums = [__m256i; 2];
    type Row = __m256i;
    type Columns = [__m256i; 2];
    const ROWS: usize = 6;
    const PANELS: usize = 1; // 12 accumulators of the 16 registers

    #[inline(always)]
    fn zero(self) -> [__m256i; 2] {
        // SAFETY: the token.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> __m256i {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm256_set1_epi32((*from).cast_signed()) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> [__m256i; 2] {
        // SAFETY: the token and the caller's promise.
        unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())] }
    }

    #[inline(always)]
    fn add(self, sums: [__m256i; 2], row: __m256i, columns: [__m256i; 2]) -> [__m256i; 2] {
        let mut result = sums;
        for (sum, columns) in result.iter_mut().zip(columns) {
            let (inputs, weights) = if WEIGHT_ROWS { (columns, row) } else { (row, columns) };
            // SAFETY: the token.
            *sum = unsafe { _mm256_dpbusd_avx_epi32(*sum, inputs, weights) };
        }
        result
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32, sums: [__m256i; 2]) {
        // SAFETY: the token and the caller's promise.
        unsafe {
            _mm256_storeu_si256(to.cast(), sums[0]);
            _mm256_storeu_si256(to.add(8).cast(), sums[1]);
        }
    }
}

impl<const WEIGHT_ROWS: bool> Dot for Bytes256<WEIGHT_ROWS> {
    type Sum = i32;
    /// Two sums for each column, which are added up at the end.
    type Sums = [__m256i; 4];
    /// The four numbers in 16 bits each, four times.
    type Row = __m256i;
    /// Four columns in each.
    type Columns = [__m256i; 4];
    const ROWS: usize = 2;
    const PANELS: usize = 1; // 8 accumulators, 4 vectors of columns, and what they are made with

    #[inline(always)]
    fn zero(self) -> [__m256i; 4] {
        // SAFETY: the token.
        unsafe { [_mm256_setzero_si256(); 4] }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> __m256i {
        // SAFETY: the token and the caller's promise.
        unsafe {
            let word = _mm_cvtsi32_si128((*from).cast_signed());
            let wide = if WEIGHT_ROWS { _mm_cvtepi8_epi16(word) } else { _mm_cvtepu8_epi16(word) };
            _mm256_broadcastq_epi64(wide)
        }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> [__m256i; 4] {
        // SAFETY: the token and the caller's promise.
        unsafe {
            let mut columns = [_mm256_setzero_si256(); 4];
            for (i, columns) in columns.iter_mut().enumerate() {
                let words = _mm_loadu_si128(from.add(4 * i).cast());
                *columns =
                    if WEIGHT_ROWS { _mm256_cvtepu8_epi16(words) } else { _mm256_cvtepi8_epi16(words) };
            }
            columns
        }
    }

    #[inline(always)]
    fn add(self, sums: [__m256i; 4], row: __m256i, columns: [__m256i; 4]) -> [__m256i; 4] {
        let mut result = sums;
        for (sum, columns) in result.iter_mut().zip(columns) {
            // SAFETY: the token.
            *sum = unsafe { _mm256_add_epi32(*sum, _mm256_madd_epi16(row, columns)) };
        }
        result
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32, sums: [__m256i; 4]) {
        // SAFETY: the token and the caller's promise.
        unsafe {
            for i in 0..2 {
                // Sums of neighbours, of which those of the two operands alternate by 128 bits.
                let added = _mm256_hadd_epi32(sums[2 * i], sums[2 * i + 1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(added);
                _mm256_storeu_si256(to.add(8 * i).cast(), ordered);
            }
        }
    }
}

impl Dot for Bf16 {
    type Sum = f32;
    type Sums = __m512;
    type Row = __m512bh;
    type Columns = __m512bh;
    const ROWS: usize = 6;
    const PANELS: usize = 4;

    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> __m512bh {
        // SAFETY: the token and the caller's promise; both types are 512 bits.
        unsafe { std::mem::transmute(_mm512_set1_epi32((*from).cast_signed())) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> __m512bh {
        // SAFETY: the token and the caller's promise; both types are 512 bits.
        unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
    }

    #[inline(always)]
    fn add(self, sums: __m512, row: __m512bh, columns: __m512bh) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_dpbf16_ps(sums, row, columns) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, sums: __m512) {
        // SAFETY: the token and the caller's promise.
        unsafe { _mm512_storeu_ps(to, sums) }
    }
}
