//! Adding a thin product to a large matrix.
//!
//! With so few terms in each sum the work is bound by memory. So the product is made in pieces that never leave the
//! second-level cache, and the matrix is read once, written once, and both in long runs.

#![expect(unsafe_code, reason = "tasks write disjoint blocks of one output, a row at a time by pointer")]

use std::{
    ops::Range,
    slice,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    LinearShape, Weights,
    elementwise::{load, store},
    gemm::{Ahead, Base, DEPTH, PANEL, Product, depth_chunks},
    output::{Out, fill, parallel, share},
    pack::copy_row,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
};

/// The most panels of one task: 1280 columns. That is whole rows of many weights, so that one run of memory follows the
/// other and the processor fetches ahead.
const TASK_PANELS: usize = 80;
/// Rows of one task: enough to make its packing cheap.
const TASK_ROWS: usize = 256;
/// Rows of the product that are made at once: with 1280 columns, 120 KiB.
const PIECE_ROWS: usize = 24;

/// `out [rows, outputs] = base [rows, outputs] + scale · left [rows, inputs] · right [inputs, outputs]`; without a base,
/// the product is added to what `out` holds. Returns whether every sum is finite.
///
/// The product is summed on its own, then scaled, then added, as if it had been made first.
///
/// # Panics
/// If a slice has not the extent that `shape` gives it; `out`, too, if there is no base.
#[must_use]
pub fn low_rank_update(
    base: Option<Weights<'_>>,
    scale: f32,
    left: &[f32],
    right: &[f32],
    shape: LinearShape,
    out: &mut Vec<f32>,
) -> bool {
    let LinearShape { rows, inputs, outputs } = shape;
    let len = rows * outputs;
    assert_eq!(left.len(), rows * inputs, "left is [rows, inputs] of {shape:?}");
    assert_eq!(right.len(), inputs * outputs, "right is [inputs, outputs] of {shape:?}");
    assert_eq!(base.map_or(out.len(), |base| base.len()), len, "the sum is [rows, outputs] of {shape:?}");

    let (panels, row_tasks) = (outputs.div_ceil(PANEL), rows.div_ceil(TASK_ROWS));
    let column_tasks = panels.div_ceil(TASK_PANELS);
    let finite = AtomicBool::new(true);
    let write = |out: Out<'_>| {
        parallel(row_tasks * column_tasks, |task| {
            let rows = share(rows, row_tasks, task % row_tasks);
            let panels = share(panels, column_tasks, task / row_tasks);
            let block = Block { base, scale, left, right, shape, rows, panels };
            finite.fetch_and(block.compute(out), Relaxed);
        });
    };
    match base {
        // SAFETY: the blocks cover all rows and all columns, and each writes all of its own.
        Some(_) => unsafe { fill(out, len, write) },
        None => write(Out::new(out)),
    }
    finite.into_inner()
}

/// The part of the sum that one task computes.
struct Block<'a> {
    base: Option<Weights<'a>>,
    scale: f32,
    left: &'a [f32],
    right: &'a [f32],
    shape: LinearShape,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Block<'_> {
    /// Writes the block and says whether it is finite.
    fn compute(&self, out: Out<'_>) -> bool {
        let LinearShape { inputs, outputs, .. } = self.shape;
        let columns = self.panels.start * PANEL..(self.panels.end * PANEL).min(outputs);
        let mut packed = Scratch::take(self.panels.len() * inputs * PANEL);
        for p in 0..inputs {
            copy_row(&self.right[p * outputs..][columns.clone()], &mut packed, p, inputs * PANEL);
        }
        let width = self.panels.len() * PANEL;
        let mut product = Scratch::take(PIECE_ROWS * width);
        let pieces = self.rows.len().div_ceil(PIECE_ROWS);
        (0..pieces).fold(true, |finite, piece| {
            let rows = share(self.rows.len(), pieces, piece);
            let first = self.rows.start + rows.start;
            self.multiply(first, rows.len(), &packed, &mut product);
            let sums = product.chunks(width).take(rows.len()).enumerate();
            sums.fold(finite, |finite, (row, product)| {
                let at = (first + row) * outputs + columns.start;
                self.add(&product[..columns.len()], at, out) & finite
            })
        })
    }

    /// `count` rows of the product from row `first` on, in whole panels.
    fn multiply(&self, first: usize, count: usize, packed: &[f32], product: &mut [f32]) {
        let inputs = self.shape.inputs;
        let width = self.panels.len() * PANEL;
        let chunks = depth_chunks(inputs);
        for chunk in 0..chunks {
            let depth = share(inputs, chunks, chunk);
            let product = Product {
                m: count,
                n: width,
                k: depth.len(),
                a: self.left[first * inputs + depth.start..].as_ptr(),
                a_stride: inputs,
                a_step: 1,
                b: packed[depth.start * PANEL..].as_ptr(),
                panel_stride: inputs * PANEL,
                b_step: PANEL,
                c: product[..count * width].as_mut_ptr(),
                c_stride: width,
                base: Base::sum_of_pieces(chunk),
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            // SAFETY: `left` has these rows and depths, `packed` these panels, `product` this block.
            unsafe { product.run() };
        }
    }

    /// A piece of a row of the product, added to what belongs at `at` in the output.
    fn add(&self, product: &[f32], at: usize, out: Out<'_>) -> bool {
        let to = out.at(at, product.len());
        let mut buffer = [0.0; TASK_PANELS * PANEL];
        let base = self.base.as_ref().map(|base| base.read(at, &mut buffer[..product.len()]).as_ptr());
        // Valid for `product.len()` values, all three: without a base, the output has its own from before.
        dispatch(AddRow { base: base.unwrap_or(to), scale: self.scale, product, to })
    }
}

/// `to = base + scale · product`, and whether all of it is finite, of pointers that [`Block::add`] vouches for.
struct AddRow<'a> {
    base: *const f32,
    scale: f32,
    product: &'a [f32],
    to: *mut f32,
}

impl Kernel for AddRow<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let Self { base, scale, product, to } = self;
        let (len, product) = (product.len(), product.as_ptr());
        let [zero, scale] = [simd.splat(0.0), simd.splat(scale)];
        let mut nothing = zero; // or NaN, which infinity times zero is too
        let mut i = 0;
        // SAFETY: i + LANES <= len in the loop; the tail reads and writes the values that are left.
        unsafe {
            while i + S::LANES <= len {
                let sum = simd.mul_add(scale, simd.load(product.add(i)), simd.load(base.add(i)));
                simd.store(to.add(i), sum);
                nothing = simd.mul_add(sum, zero, nothing);
                i += S::LANES;
            }
            if i < len {
                let rest = len - i;
                let product = load(simd, slice::from_raw_parts(product.add(i), rest));
                let base = load(simd, slice::from_raw_parts(base.add(i), rest));
                let sum = simd.mul_add(scale, product, base);
                store(simd, to.add(i), sum, rest);
                nothing = simd.mul_add(sum, zero, nothing);
            }
        }
        simd.sum(nothing) == 0.0
    }
}
