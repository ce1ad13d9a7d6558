//! AVX2 with FMA and AVX-512 on x86-64.

#![expect(unsafe_code, reason = "intrinsics need the instructions that the token types prove, and pointers")]

use std::arch::{is_x86_feature_detected, x86_64::*};

use half::{bf16, f16};

use super::{Kernel, Simd};

/// Eight f32 in a 256-bit register; exists only where AVX2, FMA and F16C do.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// The same with AVX-VNNI, which multiplies bytes.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(Avx2);

/// Sixteen f32 in a 512-bit register; exists only where AVX-512F and all that [`Avx2`] needs do.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx2 {
    /// The token, if this processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        all.then_some(Self(()))
    }

    /// Runs `kernel` compiled for AVX2, FMA and F16C.
    #[inline]
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only where the features were detected.
        unsafe { run(self, kernel) }
    }
}

impl AvxVnni {
    /// The token, if this processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }

    /// What it has of AVX2.
    pub(crate) fn avx2(self) -> Avx2 {
        self.0
    }
}

impl Avx512 {
    /// What it has of AVX2.
    pub(crate) fn avx2(self) -> Avx2 {
        Avx2(())
    }

    /// The token, if this processor has the instructions.
    pub(super) fn detect() -> Option<Self> {
        (Avx2::detect().is_some() && is_x86_feature_detected!("avx512f")).then_some(Self(()))
    }

    /// Runs `kernel` compiled for AVX-512F.
    #[inline]
    pub(super) fn enter<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
        fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only where the features were detected.
        unsafe { run(self, kernel) }
    }
}

/// Transposes 8 rows of 8 values in registers.
///
/// # Safety
/// As [`Simd::transpose8`], and the processor has AVX.
#[inline(always)]
unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller vouches for the rows and for AVX.
    unsafe {
        let row = |i: usize| _mm256_loadu_ps(from.add(i * from_stride));
        let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
        let (r4, r5, r6, r7) = (row(4), row(5), row(6), row(7));
        // Pairs, then quadruples within each 128-bit half, then the halves.
        let (a0, a1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
        let (a2, a3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
        let (a4, a5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
        let (a6, a7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
        let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xee>(a0, a2));
        let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xee>(a1, a3));
        let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xee>(a4, a6));
        let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xee>(a5, a7));
        let store = |i: usize, v: __m256| _mm256_storeu_ps(to.add(i * to_stride), v);
        store(0, _mm256_permute2f128_ps::<0x20>(b0, b4));
        store(1, _mm256_permute2f128_ps::<0x20>(b1, b5));
        store(2, _mm256_permute2f128_ps::<0x20>(b2, b6));
        store(3, _mm256_permute2f128_ps::<0x20>(b3, b7));
        store(4, _mm256_permute2f128_ps::<0x31>(b0, b4));
        store(5, _mm256_permute2f128_ps::<0x31>(b1, b5));
        store(6, _mm256_permute2f128_ps::<0x31>(b2, b6));
        store(7, _mm256_permute2f128_ps::<0x31>(b3, b7));
    }
}

/// Implements [`Simd`] for both vector lengths from one table of intrinsics. What one length has or needs and the other has
/// not follows in braces.
///
/// Throughout, the token `self` proves the instructions, and the pointers are the caller's promise.
macro_rules! implement {
    (
        $token:ident: [$lanes:literal; $vector:ty]
        splat: $splat:ident
        load: $load:ident
        store: $store:ident
        add: $add:ident
        sub: $sub:ident
        mul: $mul:ident
        div: $div:ident
        mul_add: $mul_add:ident
        min: $min:ident
        max: $max:ident
        round: $round:ident
        halves: $load_halves:ident, $widen_f16:ident, $widen_u16:ident
        integers: $round_to_i32:ident, $splat_i32:ident, $add_i32:ident, $shift_left:ident, $as_f32:ident
        { $($rest:item)* }
    ) => {
        impl Simd for $token {
            type V = $vector;
            const LANES: usize = $lanes;
            const PREFETCHES: bool = true;

            $($rest)*

            #[inline(always)]
            fn splat(self, value: f32) -> $vector {
                // SAFETY: the token.
                unsafe { $splat(value) }
            }

            #[inline(always)]
            unsafe fn load(self, from: *const f32) -> $vector {
                // SAFETY: the token and the caller's promise.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32, value: $vector) {
                // SAFETY: the token and the caller's promise.
                unsafe { $store(to, value) }
            }

            #[inline(always)]
            unsafe fn load_f16(self, from: *const f16) -> $vector {
                // SAFETY: the token and the caller's promise.
                unsafe { $widen_f16($load_halves(from.cast())) }
            }

            #[inline(always)]
            unsafe fn load_bf16(self, from: *const bf16) -> $vector {
                // SAFETY: the token and the caller's promise.
                unsafe { $as_f32($shift_left::<16>($widen_u16($load_halves(from.cast())))) }
            }

            #[inline(always)]
            fn prefetch(self, at: *const f32) {
                // SAFETY: a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }

            #[inline(always)]
            fn prefetch_far(self, at: *const f32) {
                // SAFETY: a prefetch of any address is harmless.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
            }

            lane_wise! {
                add(a, b): $add(a, b);
                sub(a, b): $sub(a, b);
                mul(a, b): $mul(a, b);
                div(a, b): $div(a, b);
                mul_add(a, b, c): $mul_add(a, b, c);
                min(a, b): $min(a, b);
                max(a, b): $max(a, b);
                round(a): $round::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
                power_of_two(n): $as_f32($shift_left::<23>($add_i32($round_to_i32(n), $splat_i32(127))));
            }

            #[inline(always)]
            unsafe fn transpose8(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
                // SAFETY: the token, for AVX-512 since `detect` asks for AVX2 as well, and the caller's promise.
                unsafe { transpose8(from, from_stride, to, to_stride) }
            }
        }
    };
}

implement! {
    Avx2: [8; __m256]
    splat: _mm256_set1_ps
    load: _mm256_loadu_ps
    store: _mm256_storeu_ps
    add: _mm256_add_ps
    sub: _mm256_sub_ps
    mul: _mm256_mul_ps
    div: _mm256_div_ps
    mul_add: _mm256_fmadd_ps
    min: _mm256_min_ps
    max: _mm256_max_ps
    round: _mm256_round_ps
    halves: _mm_loadu_si128, _mm256_cvtph_ps, _mm256_cvtepu16_epi32
    integers: _mm256_cvtps_epi32, _mm256_set1_epi32, _mm256_add_epi32, _mm256_slli_epi32, _mm256_castsi256_ps
    {
        const TILE_PANELS: usize = 1; // 6 rows of 2 vectors: 12 accumulators of the 16 registers

        #[inline(always)]
        fn sum(self, a: __m256) -> f32 {
            // SAFETY: the token.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        fn largest(self, a: __m256) -> f32 {
            // SAFETY: the token.
            unsafe {
                let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
            }
        }
    }
}

implement! {
    Avx512: [16; __m512]
    splat: _mm512_set1_ps
    load: _mm512_loadu_ps
    store: _mm512_storeu_ps
    add: _mm512_add_ps
    sub: _mm512_sub_ps
    mul: _mm512_mul_ps
    div: _mm512_div_ps
    mul_add: _mm512_fmadd_ps
    min: _mm512_min_ps
    max: _mm512_max_ps
    round: _mm512_roundscale_ps
    halves: _mm256_loadu_si256, _mm512_cvtph_ps, _mm512_cvtepu16_epi32
    integers: _mm512_cvtps_epi32, _mm512_set1_epi32, _mm512_add_epi32, _mm512_slli_epi32, _mm512_castsi512_ps
    {
        const LEAST_POWER: f32 = -256.0; // below all denormal numbers
        const TILE_PANELS: usize = 4; // 6 rows of 4 vectors: 24 accumulators of the 32 registers

        lane_wise! {
            scale(a, n): _mm512_scalef_ps(a, n);
        }

        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16, value: __m512) {
            // SAFETY: the token and the caller's promise.
            unsafe {
                let bits = _mm512_castps_si512(value);
                let high = _mm512_srli_epi32::<16>(bits);
                let half = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
                let nearest = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
                let nearest = _mm512_mask_or_epi32(nearest, nan, high, _mm512_set1_epi32(0x40));
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(nearest));
            }
        }

        #[inline(always)]
        fn sum(self, a: __m512) -> f32 {
            // SAFETY: the token.
            unsafe { _mm512_reduce_add_ps(a) }
        }

        #[inline(always)]
        fn largest(self, a: __m512) -> f32 {
            // SAFETY: the token.
            unsafe { _mm512_reduce_max_ps(a) }
        }
    }
}
