//! Vectors of f32 and the choice of instruction set.
//!
//! A kernel is written once, as a struct of arguments with a [`Kernel::run`] generic over [`Simd`]. [`dispatch`] runs
//! it with the best instruction set that this processor has. Everything below `run` is `#[inline(always)]`, so that
//! it ends up inside the one function per instruction set that carries `#[target_feature]`. Hence a kernel is a leaf:
//! it starts no threads, it runs inside them. And hence loops instead of closures around vector operations: a closure
//! that the compiler leaves as a function of its own has no instruction set, and each operation in it becomes a call.

#![expect(
    unsafe_code,
    reason = "vector loads and stores go through pointers, and dispatch enters target_feature functions"
)]

use std::{
    slice,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{narrow::rounded, panel::PANEL};

/// Functions of [`Simd`] from vectors to a vector, each by its name, its arguments and the intrinsics that compute it.
///
/// For tokens that prove the instructions of these intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! lane_wise {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),+): $value:expr;)+) => {$(
        $(#[$doc])*
        #[inline(always)]
        fn $name(self, $($argument: Self::V),+) -> Self::V {
            // SAFETY: the token `self` proves the instructions.
            unsafe { $value }
        }
    )+};
}

mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

pub(crate) use portable::Portable;

/// The operations that kernels need of an instruction set: vectors of `LANES` f32 and a few operations on them.
///
/// A value of an implementing type is the proof that this processor has the instructions.
pub(crate) trait Simd: Copy {
    /// `LANES` values of f32.
    type V: Copy;
    /// 8 or 16: it divides [`PANEL`].
    const LANES: usize;
    /// Panels under the matrix product's register tile, see [`gemm`](crate::gemm).
    const TILE_PANELS: usize;
    /// True where half a panel is as much as the registers hold under a tile: [`TILE_PANELS`](Self::TILE_PANELS), then 1,
    /// says what is read one half after the other.
    const HALF_PANELS: bool = false;
    /// True where [`prefetch`](Self::prefetch) and [`prefetch_far`](Self::prefetch_far) do something.
    const PREFETCHES: bool = false;
    /// The n for which [`scale`](Self::scale) multiplies by 0.
    const LEAST_POWER: f32 = -127.0;

    fn splat(self, value: f32) -> Self::V;
    /// # Safety
    /// `from` is valid for reads of `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// # Safety
    /// `to` is valid for writes of `LANES` values.
    unsafe fn store(self, to: *mut f32, value: Self::V);
    /// The first `LANES` of `values`.
    #[inline(always)]
    fn read(self, values: &[f32]) -> Self::V {
        assert!(values.len() >= Self::LANES, "kernel bug: fewer values than lanes");
        // SAFETY: there are as many.
        unsafe { self.load(values.as_ptr()) }
    }
    /// Replaces the first `LANES` of `values`.
    #[inline(always)]
    fn write(self, values: &mut [f32], value: Self::V) {
        assert!(values.len() >= Self::LANES, "kernel bug: fewer values than lanes");
        // SAFETY: there are as many.
        unsafe { self.store(values.as_mut_ptr(), value) }
    }
    /// `LANES` values of half precision, widened.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` values.
    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { load_half(self, from) }
    }
    /// # Safety
    /// As [`load_f16`](Self::load_f16).
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const bf16) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { load_half(self, from) }
    }

    /// Writes `LANES` values as the nearest bf16.
    ///
    /// # Safety
    /// `to` is valid for writes of `LANES` values.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16, value: Self::V) {
        let mut wide = [0.0; PANEL];
        self.write(&mut wide, value);
        for (lane, &x) in wide[..Self::LANES].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.add(lane).write(bf16::from_bits(rounded(x) as u16)) };
        }
    }

    /// Asks for the cache line of an address, which need not be valid; does nothing where there is no such instruction.
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    /// Does what [`prefetch`](Self::prefetch) does, to the second-level cache only.
    #[inline(always)]
    fn prefetch_far(self, _: *const f32) {}

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller, `b` if either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger, `b` if either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The nearest integer, ties to even, for |a| < 2^22.
    fn round(self, a: Self::V) -> Self::V;
    /// 2^n for integral n in [-127, 128]: 0 at -127, infinite at 128; anything for NaN.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// `a * 2^n` for integral n from [`LEAST_POWER`](Self::LEAST_POWER) to 128, where 2^n is 0 and infinite.
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul(a, self.power_of_two(n))
    }

    /// The sum of the lanes.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane.
    fn largest(self, a: Self::V) -> f32;

    /// Transposes 8 rows of 8 values.
    ///
    /// # Safety
    /// The rows `from + i * from_stride` are valid for reads of 8 values and the rows `to + i * to_stride` for writes
    /// of 8, for i in 0..8.
    unsafe fn transpose8(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// `LANES` values of half precision, widened by the crate `half`.
///
/// # Safety
/// `from` is valid for reads of them.
#[inline(always)]
unsafe fn load_half<S: Simd, T>(simd: S, from: *const T) -> S::V
where
    [T]: HalfFloatSliceExt,
{
    let mut wide = [0.0; PANEL];
    // SAFETY: the caller's promise, and there are no more lanes than columns in a panel.
    unsafe {
        slice::from_raw_parts(from, S::LANES).convert_to_f32_slice(&mut wide[..S::LANES]);
        simd.load(wide.as_ptr())
    }
}

/// N vectors, their first lanes `stride` apart.
///
/// # Safety
/// `from` is valid for reads of that.
#[inline(always)]
pub(crate) unsafe fn load_all<S: Simd, const N: usize>(
    simd: S,
    from: *const f32,
    stride: usize,
) -> [S::V; N] {
    let mut vectors = [simd.splat(0.0); N];
    for (i, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { simd.load(from.add(i * stride)) };
    }
    vectors
}

/// A computation that any instruction set can run.
pub(crate) trait Kernel {
    /// Its result.
    type Output;
    /// Runs it. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512F on x86-64: 16 lanes. Its VNNI multiplies bytes and its BF16 halves, where the processor has them.
    Avx512,
    /// As [`Avx2`](Self::Avx2), with products of bytes by AVX-VNNI.
    AvxVnni,
    /// AVX2 with FMA and F16C on x86-64: 8 lanes.
    Avx2,
    /// NEON on aarch64: 4 lanes.
    Neon,
    /// WebAssembly's vectors of 128 bits: 4 lanes. Chosen when the program is compiled (`-C target-feature=+simd128`),
    /// because a module that has an instruction its host does not know is not loaded at all.
    Simd128,
    /// The same with relaxed multiply-add, which rounds once where the host's processor can: the feature `relaxed-simd`.
    RelaxedSimd,
    /// Plain Rust, anywhere.
    Portable,
}

/// The instruction set in use: the best of this processor, unless [`use_instruction_set`] chose another.
#[must_use]
pub fn instruction_set() -> InstructionSet {
    Isa::current().name()
}

/// Makes all kernels of this process use `set` from now on and returns true, or returns false if this processor has not
/// got it. For measurements, and to have the same rounding on different machines.
pub fn use_instruction_set(set: InstructionSet) -> bool {
    let position = Isa::available().iter().position(|isa| isa.name() == set);
    if let Some(position) = position {
        CURRENT.store(position, Relaxed);
    }
    position.is_some()
}

/// The place in [`Isa::available`] of the one in use.
static CURRENT: AtomicUsize = AtomicUsize::new(0);

/// An instruction set with the proof that it is there.
#[derive(Clone, Copy)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(x86::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Wasm(wasm::Wasm),
    Portable(Portable),
}

impl Isa {
    /// The sets that this processor has, the best first. Miri knows few intrinsics and gets none.
    fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let sets = [
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                x86::Avx512::detect().map(Self::Avx512),
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                x86::AvxVnni::detect().map(Self::AvxVnni),
                #[cfg(all(target_arch = "x86_64", not(miri)))]
                x86::Avx2::detect().map(Self::Avx2),
                #[cfg(all(target_arch = "aarch64", not(miri)))]
                Some(Self::Neon(neon::Neon::baseline())),
                #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                Some(Self::Wasm(wasm::Wasm::compiled_for())),
                Some(Self::Portable(Portable)),
            ];
            sets.into_iter().flatten().collect()
        })
    }

    #[inline]
    pub(crate) fn current() -> Self {
        Self::available()[CURRENT.load(Relaxed)]
    }

    fn name(self) -> InstructionSet {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => InstructionSet::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(_) => InstructionSet::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => InstructionSet::Avx2,
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => InstructionSet::Neon,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Wasm(_) => wasm::Wasm::NAME,
            Self::Portable(_) => InstructionSet::Portable,
        }
    }
}

/// Panels under the register tile of the matrix product.
pub(crate) fn tile_panels() -> usize {
    struct Panels;
    impl Kernel for Panels {
        type Output = usize;

        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> usize {
            S::TILE_PANELS
        }
    }
    dispatch(Panels)
}

/// Runs `kernel` with the instruction set in use.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match Isa::current() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(simd) => simd.enter(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni(simd) => simd.avx2().enter(kernel),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(simd) => simd.enter(kernel),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(simd) => kernel.run(simd), // part of what the whole crate is compiled for
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Wasm(simd) => simd.enter(kernel),
        Isa::Portable(simd) => kernel.run(simd),
    }
}
