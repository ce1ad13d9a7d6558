//! The linear layer.

#![expect(unsafe_code, reason = "tasks write disjoint blocks of one output")]

use std::ops::Range;

use crate::{
    Weights,
    elementwise::{Map, load, map},
    gemm::{PANEL, Product, depth_chunks},
    output::{Out, fill, parallel, share},
    pack::copy_row,
    scratch::Scratch,
    simd::Simd,
};

/// The most panels of weights that one task packs and multiplies: 256 columns.
const TASK_PANELS: usize = 16;
/// Rows of one task: enough to make its packing cheap.
const TASK_ROWS: usize = 512;

/// The extents of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of the input: batch times tokens.
    pub rows: usize,
    /// Values per input row.
    pub inputs: usize,
    /// Values per output row.
    pub outputs: usize,
}

/// `out [rows, outputs] = x [rows, inputs] · weights [inputs, outputs] + bias [outputs] + residual [rows, outputs]`.
///
/// `out` is overwritten; its capacity is used again.
///
/// # Panics
/// If a slice has not the extent that `shape` gives it.
pub fn linear(
    x: &[f32],
    weights: Weights<'_>,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    shape: LinearShape,
    out: &mut Vec<f32>,
) {
    let LinearShape { rows, inputs, outputs } = shape;
    assert_eq!(x.len(), rows * inputs, "x is [rows, inputs] of {shape:?}");
    assert_eq!(weights.len(), inputs * outputs, "weights are [inputs, outputs] of {shape:?}");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs] of {shape:?}");
    assert!(residual.is_none_or(|r| r.len() == rows * outputs), "residual is [rows, outputs] of {shape:?}");

    let row_tasks = rows.div_ceil(TASK_ROWS);
    let panels = outputs.div_ceil(PANEL);
    // Few rows: narrower tasks, so that every thread has some.
    let wanted = (2 * rayon::current_num_threads()).div_ceil(row_tasks.max(1));
    let column_tasks = panels.div_ceil(TASK_PANELS).max(wanted.min(panels / 2));
    let write = |out: Out<'_>| {
        parallel(row_tasks * column_tasks, |task| {
            let block = Block {
                rows: share(rows, row_tasks, task % row_tasks),
                panels: share(panels, column_tasks, task / row_tasks),
            };
            block.compute(x, weights, bias, residual, shape, out);
        });
    };
    // SAFETY: the blocks cover all rows and all columns, and each writes all of its own.
    unsafe { fill(out, rows * outputs, write) };
}

/// The part of the output that one task computes.
struct Block {
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Block {
    fn compute(
        &self,
        x: &[f32],
        weights: Weights<'_>,
        bias: Option<&[f32]>,
        residual: Option<&[f32]>,
        shape: LinearShape,
        out: Out<'_>,
    ) {
        let LinearShape { inputs, outputs, .. } = shape;
        let rows = &self.rows;
        let columns = self.panels.start * PANEL..(self.panels.end * PANEL).min(outputs);
        let chunks = depth_chunks(inputs);
        let mut packed = Scratch::take(self.panels.len() * inputs.div_ceil(chunks) * PANEL);
        for chunk in 0..chunks {
            let depth = share(inputs, chunks, chunk);
            pack(weights, outputs, depth.clone(), columns.clone(), &mut packed);
            let product = Product {
                m: rows.len(),
                n: columns.len(),
                k: depth.len(),
                a: x[rows.start * inputs + depth.start..].as_ptr(),
                a_stride: inputs,
                b: packed.as_ptr(),
                panel_stride: depth.len() * PANEL,
                c: out.at(rows.start * outputs + columns.start, (rows.len() - 1) * outputs + columns.len()),
                c_stride: outputs,
                accumulate: chunk > 0,
            };
            // SAFETY: x has these rows and depths, `packed` these panels; this block of `out` is this task's.
            unsafe { product.run() };
        }
        if bias.is_none() && residual.is_none() {
            return;
        }
        for row in rows.clone() {
            let at = row * outputs + columns.start;
            let to = out.at(at, columns.len());
            let terms =
                [bias.map(|bias| &bias[columns.clone()]), residual.map(|r| &r[at..at + columns.len()])];
            // SAFETY: the products have written these values, and they are this task's.
            unsafe { map(to, to, columns.len(), AddRows(terms)) };
        }
    }
}

/// `x + bias + residual`, each a row.
#[derive(Clone, Copy)]
struct AddRows<'a>([Option<&'a [f32]>; 2]);

impl Map for AddRows<'_> {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, index: usize, count: usize) -> S::V {
        let mut sum = x;
        for row in self.0.into_iter().flatten() {
            sum = simd.add(sum, load(simd, &row[index..index + count]));
        }
        sum
    }
}

/// Copies the rows `depth` and the columns `columns` of `weights [_, outputs]` to panels `[depth][16]`, the last one
/// filled up with zeros.
fn pack(
    weights: Weights<'_>,
    outputs: usize,
    depth: Range<usize>,
    columns: Range<usize>,
    packed: &mut [f32],
) {
    let panel_stride = depth.len() * PANEL;
    let mut buffer = [0.0; TASK_PANELS * PANEL];
    for (p, row) in depth.enumerate() {
        let values = weights.read(row * outputs + columns.start, &mut buffer[..columns.len()]);
        copy_row(values, packed, p, panel_stride);
    }
}
