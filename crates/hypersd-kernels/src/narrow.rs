//! Products of narrow numbers: int8 and bf16, of which a processor multiplies four and two times as many at once.
//!
//! Both come in *words* of 32 bits: four bytes or two bf16, neighbours in the sum. One operand is read word by word, each
//! for a whole row of sums, and the other in vectors of 16 words, one for each column ([`tile`]).
//!
//! **int8.** A weight is `scale · w`, |w| ≤ 127, with one scale per output. An input is `scale · (q - zero)`, 0 ≤ q ≤ 254,
//! with a scale and a zero for each row of a linear layer and for each image of a convolution, found when it is computed.
//! Then `Σ x w = scale · scale · (Σ q w - zero · Σ w)`, where the sums are integers and exact: in whatever order and with
//! whatever instructions they are computed, the result is the same to the bit.
//!
//! **bf16.** Both operands are rounded to bf16; products and sums are f32.

mod dot;
mod quantize;
mod tile;
mod words;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use dot::Dot;
pub use quantize::{INT8_TERMS, int8_panels, int8_panels_read, int8_rows, int8_rows_read};
pub(crate) use quantize::{Int8Panel, Int8Row, Range8};
pub(crate) use quantize::{int8_panels_len, int8_rows_len};
pub(crate) use tile::{Columns, Finish, Tiles, WordRows};
pub(crate) use words::{InputRows, as_words, as_words_mut, bf16_pairs, ends, rounded};

#[cfg(target_arch = "x86_64")]
use crate::simd::Isa;

/// A computation of products of words, of which sums are of type `T`, that any instruction set can run.
pub(crate) trait NarrowKernel<T> {
    /// Runs it. Implementations are `#[inline(always)]`.
    fn run<D: Dot<Sum = T>>(self, dot: D);
}

/// Runs `kernel` on bytes with the instruction set in use. `WEIGHT_ROWS` says which operand the weights are, which are
/// signed: the one that is read word by word, or the one that is read in vectors. The inputs are not signed.
#[inline]
pub(crate) fn int8<const WEIGHT_ROWS: bool>(kernel: impl NarrowKernel<i32>) {
    #[cfg(target_arch = "x86_64")]
    match Isa::current() {
        Isa::Avx512(isa) => {
            return match x86::Vnni512::<WEIGHT_ROWS>::detect() {
                Some(vnni) => vnni.enter(kernel),
                None => x86::Bytes256::<WEIGHT_ROWS>::of(isa.avx2()).enter(kernel),
            };
        }
        Isa::AvxVnni(isa) => return x86::Vnni256::<WEIGHT_ROWS>::of(isa).enter(kernel),
        Isa::Avx2(isa) => return x86::Bytes256::<WEIGHT_ROWS>::of(isa).enter(kernel),
        Isa::Portable(_) => {}
    }
    kernel.run(dot::PortableBytes::<WEIGHT_ROWS>);
}

/// Runs `kernel` on bf16 with the instruction set in use.
#[inline]
pub(crate) fn bf16(kernel: impl NarrowKernel<f32>) {
    #[cfg(target_arch = "x86_64")]
    if let (Isa::Avx512(_), Some(isa)) = (Isa::current(), x86::Bf16::detect()) {
        return isa.enter(kernel);
    }
    kernel.run(dot::PortableHalves);
}

/// True where the processor multiplies bf16 faster than f32, with the instruction set in use: AVX-512 with BF16 so far.
/// Elsewhere products of bf16 are as exact, and slower than those of f32.
#[must_use]
pub fn has_bf16_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(Isa::current(), Isa::Avx512(_)) && x86::Bf16::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}
