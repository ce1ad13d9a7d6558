//! Activations.

#![expect(
    unsafe_code,
    reason = "whole vectors are read and written by pointer, maybe to where they came from"
)]

use std::{marker::PhantomData, mem::MaybeUninit, slice};

use crate::{
    math,
    output::{Axis, Split, fill, update},
    panel::PANEL,
    simd::{Kernel, Simd, dispatch},
};

/// Values that one task works on: 64 KiB, a fraction of the second-level cache.
const TASK: usize = 1 << 14;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// None: x.
    #[default]
    Identity,
    /// max(x, 0).
    Relu,
    /// x / (1 + e^-x).
    Silu,
    /// x Φ(x) with the error function, not its tanh approximation.
    Gelu,
    /// x / (1 + e^(-1.702 x)), the GELU of the first CLIP.
    QuickGelu,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, simd: S, x: S::V) -> S::V {
        match self {
            Self::Identity => x,
            Self::Relu => simd.max(simd.splat(0.0), x),
            Self::Silu => math::silu(simd, x, 1.0),
            Self::Gelu => math::gelu(simd, x),
            Self::QuickGelu => math::silu(simd, x, 1.702),
        }
    }
}

/// Replaces every value by its activation.
pub fn activate_in_place(values: &mut [f32], activation: Activation) {
    let tasks = values.len().div_ceil(TASK);
    let split = Split::new(1, Axis::whole(1), Axis::new(values.len(), PANEL, tasks));
    update(values, split, |_, mut values| activate_row(values.row(0), activation));
}

/// Does what [`activate_in_place`] does, on this thread.
pub(crate) fn activate_row(values: &mut [f32], activation: Activation) {
    map(InOut::in_place(values), Activate(activation));
}

/// `out [rows, n] = x[.., ..n] * gelu(x[.., n..])` for `x [rows, 2n]`: the gated unit of a diffusion transformer block.
///
/// `out` is overwritten; its capacity is used again.
///
/// # Panics
/// If `x` is not whole rows of `2n`.
pub fn geglu(x: &[f32], n: usize, out: &mut Vec<f32>) {
    let rows = if n == 0 { 0 } else { x.len() / (2 * n) };
    assert_eq!(x.len(), rows * 2 * n, "x is [rows, 2n] with n = {n}");
    fill(out, Split::by_rows(rows, n, TASK), |block, to| {
        to.write(|row, to| {
            let row = block.rows.start + row;
            let (values, gates) = x[row * 2 * n..(row + 1) * 2 * n].split_at(n);
            map(InOut::new(gates, to), Gate(values))
        })
    });
}

/// A function of the vectors of a row, given where in the row they start.
pub(crate) trait Map: Copy {
    /// The result for `x`; `index` is the position of its first lane and `count` the number of lanes that exist.
    fn map<S: Simd>(self, simd: S, x: S::V, index: usize, count: usize) -> S::V;
}

#[derive(Clone, Copy)]
struct Activate(Activation);

impl Map for Activate {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, _: usize, _: usize) -> S::V {
        self.0.apply(simd, x)
    }
}

/// The gated unit of the values that it holds; what is mapped are the gates.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a>(pub(crate) &'a [f32]);

impl Map for Gate<'_> {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, index: usize, count: usize) -> S::V {
        simd.mul(load(simd, &self.0[index..index + count]), math::gelu(simd, x))
    }
}

/// The values as a vector, filled up with zeros.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32]) -> S::V {
    let mut tail = [0.0; 16];
    let from = if values.len() >= S::LANES {
        values.as_ptr()
    } else {
        tail[..values.len()].copy_from_slice(values);
        tail.as_ptr()
    };
    // SAFETY: either side has as many values as lanes, of which there are at most 16.
    unsafe { simd.load(from) }
}

/// Writes the first `count` lanes.
///
/// # Safety
/// `to` is valid for writes of `count` values.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::V, count: usize) {
    // SAFETY: the caller's promise; there are at most 16 lanes.
    unsafe {
        if count >= S::LANES {
            simd.store(to, value);
        } else {
            let mut tail = [0.0; 16];
            simd.store(tail.as_mut_ptr(), value);
            to.copy_from_nonoverlapping(tail.as_ptr(), count);
        }
    }
}

/// Values to read and the place of as many to write: another, or the same.
pub(crate) struct InOut<'from, 'to> {
    from: *const f32,
    to: *mut f32,
    len: usize,
    lifetimes: PhantomData<(&'from [f32], &'to mut [f32])>,
}

impl<'from, 'to> InOut<'from, 'to> {
    #[inline(always)]
    pub(crate) fn new(from: &'from [f32], to: &'to mut [MaybeUninit<f32>]) -> Self {
        assert_eq!(from.len(), to.len(), "kernel bug: as many values are written as are read");
        Self { from: from.as_ptr(), to: to.as_mut_ptr().cast(), len: to.len(), lifetimes: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn in_place(values: &'to mut [f32]) -> Self {
        let to = values.as_mut_ptr();
        Self { from: to, to, len: values.len(), lifetimes: PhantomData }
    }

    /// The values to read, the place to write and their number: valid for so many reads and writes, and the same or apart.
    #[inline(always)]
    pub(crate) fn pointers(&self) -> (*const f32, *mut f32, usize) {
        (self.from, self.to, self.len)
    }

    /// The values that were written.
    ///
    /// # Safety
    /// All values have been.
    #[inline(always)]
    pub(crate) unsafe fn written(self) -> &'to mut [f32] {
        // SAFETY: `to` is borrowed exclusively for 'to, and the caller promises that it is initialised.
        unsafe { slice::from_raw_parts_mut(self.to, self.len) }
    }
}

/// Computes each value from its own, `f(from[i])`, on this thread. Inlined, or its arguments would go through memory.
#[inline(always)]
pub(crate) fn map<'to, F: Map>(values: InOut<'_, 'to>, f: F) -> &'to mut [f32] {
    dispatch(Mapping { values, f })
}

struct Mapping<'from, 'to, F> {
    values: InOut<'from, 'to>,
    f: F,
}

impl<'to, F: Map> Kernel for Mapping<'_, 'to, F> {
    type Output = &'to mut [f32];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Self { values, f } = self;
        let (from, to, len) = values.pointers();
        let mut i = 0;
        // SAFETY: i + LANES <= len in the loop; the tail reads and writes the values that are left.
        unsafe {
            while i + S::LANES <= len {
                simd.store(to.add(i), f.map(simd, simd.load(from.add(i)), i, S::LANES));
                i += S::LANES;
            }
            if i < len {
                let x = load(simd, slice::from_raw_parts(from.add(i), len - i));
                store(simd, to.add(i), f.map(simd, x, i, len - i), len - i);
            }
            values.written()
        }
    }
}
