//! Adding a thin product to a large matrix.
//!
//! With so few terms in each sum the work is bound by memory. So the product is made in pieces that never leave the
//! second-level cache, and the matrix is read once, written once, and both in long runs.

#![expect(
    unsafe_code,
    reason = "whole vectors are read and written by pointer, maybe to where they came from"
)]

use std::{
    ops::Range,
    slice,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    LinearShape, Weights,
    elementwise::{InOut, load, store},
    gemm::{Ahead, Base, DEPTH, Product, depth_chunks},
    operands::{Panels, Rows, RowsMut},
    output::{Axis, Block, Split, fill, share, update},
    pack::copy_row,
    panel::PANEL,
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

    let column_tasks = outputs.div_ceil(PANEL).div_ceil(TASK_PANELS);
    let by_rows = Axis::new(rows, 1, rows.div_ceil(TASK_ROWS));
    let split = Split::new(1, by_rows, Axis::new(outputs, PANEL, column_tasks));
    let (all_finite, factors) = (AtomicBool::new(true), Factors { left, right, shape });
    match base {
        Some(base) => fill(out, split, |block, to| {
            let mut buffer = [0.0; TASK_PANELS * PANEL];
            let (mut products, mut finite) = (Products::new(factors, &block), true);
            let to = to.write(|row, to| {
                let at = (block.rows.start + row) * outputs + block.columns.start;
                let base = base.read(at, &mut buffer[..to.len()]);
                let (sum, row_finite) = add(InOut::new(base, to), scale, products.row(row));
                finite &= row_finite;
                sum
            });
            all_finite.fetch_and(finite, Relaxed);
            to
        }),
        None => update(out, split, |block, mut to| {
            let (mut products, mut finite) = (Products::new(factors, &block), true);
            for row in 0..to.rows() {
                finite &= add(InOut::in_place(to.row(row)), scale, products.row(row)).1;
            }
            all_finite.fetch_and(finite, Relaxed);
        }),
    }
    all_finite.into_inner()
}

/// The factors of the product.
#[derive(Clone, Copy)]
struct Factors<'a> {
    left: &'a [f32],
    right: &'a [f32],
    shape: LinearShape,
}

/// The rows of the product that belong to a block, made piece by piece.
struct Products<'a> {
    factors: Factors<'a>,
    rows: Range<usize>,
    columns: usize,
    /// The panels of `right` under the block.
    packed: Scratch,
    /// The rows that are made, counted from the first of the block, in whole panels.
    made: Range<usize>,
    values: Scratch,
}

impl<'a> Products<'a> {
    fn new(factors: Factors<'a>, block: &Block) -> Self {
        let LinearShape { inputs, outputs, .. } = factors.shape;
        let columns = block.columns.len();
        let width = columns.next_multiple_of(PANEL);
        let mut packed = Scratch::take(width * inputs);
        for p in 0..inputs {
            let row = &factors.right[p * outputs..][block.columns.clone()];
            copy_row(row, &mut packed, p, inputs * PANEL);
        }
        let values = Scratch::take(PIECE_ROWS * width);
        Self { factors, rows: block.rows.clone(), columns, packed, made: 0..0, values }
    }

    /// A row, counted from the first of the block. Asked for in turn, each is made once.
    fn row(&mut self, row: usize) -> &[f32] {
        if !self.made.contains(&row) {
            let pieces = self.rows.len().div_ceil(PIECE_ROWS);
            let mut piece = (0..pieces).map(|piece| share(self.rows.len(), pieces, piece));
            self.made = piece.find(|piece| piece.contains(&row)).expect("kernel bug: no such row");
            self.multiply();
        }
        let width = self.columns.next_multiple_of(PANEL);
        &self.values[(row - self.made.start) * width..][..self.columns]
    }

    /// Makes the rows `made`.
    fn multiply(&mut self) {
        let Factors { left, shape: LinearShape { inputs, .. }, .. } = self.factors;
        let (first, rows) = (self.rows.start + self.made.start, self.made.len());
        let width = self.columns.next_multiple_of(PANEL);
        let chunks = depth_chunks(inputs);
        for chunk in 0..chunks {
            let depth = share(inputs, chunks, chunk);
            let a = &left[first * inputs + depth.start..];
            let b = &self.packed[depth.start * PANEL..];
            let product = Product {
                a: Rows::new(a, [rows, depth.len()], [inputs, 1]),
                b: Panels::new(b, [width / PANEL, depth.len()], [inputs * PANEL, PANEL]),
                c: RowsMut::new(&mut self.values, [rows, width], width),
                base: Base::sum_of_pieces(chunk),
                run: DEPTH,
                next: Ahead::NOTHING,
            };
            product.run();
        }
    }
}

/// Adds `scale · product` to the values of a row; returns the sums, and whether all are finite.
#[inline(always)]
fn add<'to>(values: InOut<'_, 'to>, scale: f32, product: &[f32]) -> (&'to mut [f32], bool) {
    dispatch(AddRow { values, scale, product })
}

struct AddRow<'from, 'to> {
    values: InOut<'from, 'to>,
    scale: f32,
    product: &'from [f32],
}

impl<'to> Kernel for AddRow<'_, 'to> {
    type Output = (&'to mut [f32], bool);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Self { values, scale, product } = self;
        let (base, to, len) = values.pointers();
        assert_eq!(product.len(), len, "kernel bug: the product has another width");
        let product = product.as_ptr();
        let [zero, scale] = [simd.splat(0.0), simd.splat(scale)];
        let mut nothing = zero; // or NaN, which infinity times zero is too
        let mut i = 0;
        // SAFETY: i + LANES <= len in the loop; the tail reads and writes the values that are left.
        let sums = unsafe {
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
            values.written()
        };
        (sums, simd.sum(nothing) == 0.0)
    }
}
