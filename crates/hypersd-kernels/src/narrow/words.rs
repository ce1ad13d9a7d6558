//! Inputs in words.

#![expect(unsafe_code, reason = "views words as the f32 of the memory that they lie in, and as bytes")]

use std::slice;

use half::bf16;

use super::{Range8, WordRows};
use crate::{
    output::{Axis, Split, update},
    panel::PANEL,
    scratch::{Scratch, odd_lines},
    simd::{Kernel, Simd, dispatch},
};

/// Values that one task brings into words.
const TASK: usize = 1 << 14;

/// Words behind those of a row of bytes: its scale, as f32, and its zero, as i32.
const TRAILER: usize = 2;

/// The same memory, as words.
pub(crate) fn as_words(values: &[f32]) -> &[u32] {
    // SAFETY: both types have the same size and alignment, and any bits are valid.
    unsafe { slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// The same memory, as words.
pub(crate) fn as_words_mut(values: &mut [f32]) -> &mut [u32] {
    // SAFETY: as above, and the borrow is exclusive.
    unsafe { slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// The nearest bf16, ties to even, in the lowest 16 bits.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { bits >> 16 | 0x40 } else { nearest }
}

/// The rows of a linear layer's input, in words.
pub(crate) struct InputRows {
    words: Scratch,
    /// Words of a row that are numbers.
    depth: usize,
    stride: usize,
    rows: usize,
}

impl InputRows {
    /// `x [rows, inputs]` in bytes, each row with a range of its own.
    pub(crate) fn int8(x: &[f32], rows: usize, inputs: usize) -> Self {
        Self::new(rows, inputs, inputs.div_ceil(4), |row, words| {
            dispatch(Quantize { x: &x[row * inputs..][..inputs], words });
        })
    }

    /// `x [rows, inputs]` in bf16.
    pub(crate) fn bf16(x: &[f32], rows: usize, inputs: usize) -> Self {
        Self::new(rows, inputs, inputs.div_ceil(2), |row, words| {
            dispatch(Round { x: &x[row * inputs..][..inputs], words });
        })
    }

    fn new(
        rows: usize,
        inputs: usize,
        depth: usize,
        write: impl Fn(usize, &mut [u32]) + Send + Sync,
    ) -> Self {
        let stride = odd_lines(depth + TRAILER);
        let mut words = Scratch::take(rows * stride);
        let tasks = (rows * inputs).div_ceil(TASK).min(rows);
        update(&mut words, Split::new(1, Axis::new(rows, 1, tasks), Axis::whole(stride)), |block, mut to| {
            for row in 0..block.rows.len() {
                write(block.rows.start + row, &mut as_words_mut(to.row(row))[..depth + TRAILER]);
            }
        });
        Self { words, depth, stride, rows }
    }

    /// The rows from `first` on.
    pub(crate) fn rows(&self, first: usize, count: usize) -> WordRows<'_> {
        assert!(first + count <= self.rows, "kernel bug: {first} + {count} of {} rows", self.rows);
        WordRows::new(&as_words(&self.words)[first * self.stride..], [count, self.depth], self.stride)
    }

    /// The scale of a row of bytes and what stands for zero in it.
    #[inline(always)]
    pub(crate) fn range(&self, row: usize) -> (f32, i32) {
        let trailer = &as_words(&self.words)[row * self.stride + self.depth..][..TRAILER];
        (f32::from_bits(trailer[0]), trailer[1].cast_signed())
    }
}

/// A row of f32 becomes one of bytes, with its range behind it.
struct Quantize<'a> {
    x: &'a [f32],
    words: &'a mut [u32],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, words } = self;
        let (least, greatest, finite) = ends(simd, x);
        let range = Range8::of(least, greatest, finite);
        let (words, trailer) = words.split_at_mut(words.len() - TRAILER);
        if let Some(last) = words.last_mut() {
            *last = 0;
        }
        // SAFETY: bytes have no alignment, and any bits are valid.
        let bytes = unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), 4 * words.len()) };
        for (byte, &x) in bytes.iter_mut().zip(x) {
            *byte = range.byte(x) as u8;
        }
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        trailer[0] = range.scale.to_bits();
        trailer[1] = range.zero().cast_unsigned();
    }
}

/// The least and the greatest value, or zero if these are above or below it, and whether all are finite.
#[inline(always)]
pub(crate) fn ends<S: Simd>(simd: S, x: &[f32]) -> (f32, f32, bool) {
    let zero = simd.splat(0.0);
    // Two of each, for a comparison takes longer than the next one waits.
    let (mut least, mut greatest, mut nothing) = ([zero; 2], [zero; 2], [zero; 2]);
    let pairs = x.chunks_exact(2 * S::LANES);
    let rest = pairs.remainder();
    for pair in pairs {
        for (i, x) in [simd.read(pair), simd.read(&pair[S::LANES..])].into_iter().enumerate() {
            least[i] = simd.min(x, least[i]);
            greatest[i] = simd.max(x, greatest[i]);
            nothing[i] = simd.mul_add(x, zero, nothing[i]); // NaN after NaN and infinities
        }
    }
    let mut ends = (
        -simd.largest(simd.sub(zero, simd.min(least[0], least[1]))),
        simd.largest(simd.max(greatest[0], greatest[1])),
        simd.sum(simd.add(nothing[0], nothing[1])) == 0.0,
    );
    for &x in rest {
        ends = (ends.0.min(x), ends.1.max(x), ends.2 && x.is_finite());
    }
    ends
}

/// A row of f32 becomes one of bf16.
struct Round<'a> {
    x: &'a [f32],
    words: &'a mut [u32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { x, words } = self;
        let count = words.len() - TRAILER;
        let words = &mut words[..count];
        if let Some(last) = words.last_mut() {
            *last = 0;
        }
        // SAFETY: words are aligned as halves of them are, and any bits are valid.
        let halves = unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u16>(), 2 * words.len()) };
        for (half, &x) in halves.iter_mut().zip(x) {
            *half = rounded(x) as u16;
        }
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.rotate_left(16));
        }
    }
}

/// The rows of a panel `[inputs][16]` of bf16 in pairs: a word for each of the 16 outputs and each two inputs.
pub(crate) fn bf16_pairs(panel: &[bf16], words: &mut [u32]) {
    dispatch(Pair { panel, words });
}

struct Pair<'a> {
    panel: &'a [bf16],
    words: &'a mut [u32],
}

impl Kernel for Pair<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let pairs = self.panel.chunks_exact(2 * PANEL);
        let last = pairs.remainder();
        let words = self.words.as_chunks_mut::<PANEL>().0;
        for (pair, words) in pairs.zip(words.iter_mut()) {
            let (even, odd) = pair.split_at(PANEL);
            for (word, (even, odd)) in words.iter_mut().zip(even.iter().zip(odd)) {
                *word = u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16;
            }
        }
        if let (Some(words), false) = (words.last_mut(), last.is_empty()) {
            for (word, even) in words.iter_mut().zip(last) {
                *word = even.to_bits().into();
            }
        }
    }
}
