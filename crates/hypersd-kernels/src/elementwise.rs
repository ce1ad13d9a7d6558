//! Activations.

#![expect(unsafe_code, reason = "whole vectors are read and written by pointer; tasks write disjoint rows")]

use crate::{
    math,
    output::{Out, fill, parallel},
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
    let out = Out::new(values);
    parallel(out.len().div_ceil(TASK), |task| {
        let start = task * TASK;
        let len = TASK.min(out.len() - start);
        // SAFETY: each task reads and writes its own part.
        unsafe { map(out.at(start, len), out.at(start, len), len, Activate(activation)) };
    });
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
    let rows_per_task = (TASK / n.max(1)).max(1);
    let write = |out: Out<'_>| {
        parallel(rows.div_ceil(rows_per_task), |task| {
            for row in task * rows_per_task..((task + 1) * rows_per_task).min(rows) {
                let (value, gate) = x[row * 2 * n..(row + 1) * 2 * n].split_at(n);
                // SAFETY: the row of the output is this task's alone.
                unsafe { map(gate.as_ptr(), out.at(row * n, n), n, Gate(value)) };
            }
        });
    };
    // SAFETY: the tasks cover all rows.
    unsafe { fill(out, rows * n, write) };
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

/// `to[i] = f(from[i])` for `len` values on this thread.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of `len` values; they are the same or do not overlap.
pub(crate) unsafe fn map<F: Map>(from: *const f32, to: *mut f32, len: usize, f: F) {
    dispatch(Mapping { from, to, len, f });
}

/// A mapping whose pointers the caller has vouched for.
struct Mapping<F> {
    from: *const f32,
    to: *mut f32,
    len: usize,
    f: F,
}

impl<F: Map> Kernel for Mapping<F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { from, to, len, f } = self;
        let mut i = 0;
        // SAFETY: i + LANES <= len in the loop; the tail reads and writes the values that are left.
        unsafe {
            while i + S::LANES <= len {
                simd.store(to.add(i), f.map(simd, simd.load(from.add(i)), i, S::LANES));
                i += S::LANES;
            }
            if i < len {
                let x = load(simd, std::slice::from_raw_parts(from.add(i), len - i));
                store(simd, to.add(i), f.map(simd, x, i, len - i), len - i);
            }
        }
    }
}
