//! A linear layer and the gate that its output goes through, without that output as a whole.

#![expect(unsafe_code, reason = "tasks write disjoint blocks of one output")]

use super::{Layer, LayerWeights, LinearShape, Products, for_each_block, linear};
use crate::{
    elementwise::{Gate, geglu, map},
    gemm::PANEL,
    output::{Out, fill},
};

/// The most panels of values that one task computes, beside as many of gates: two whole tiles of each. What it computes
/// of 512 rows (0.5 MiB) stays in the second-level cache until it is gated.
const TASK_PANELS: usize = 8;

/// `out [rows, n] = y[.., ..n] * gelu(y[.., n..])` for `y [rows, 2n] = x [rows, inputs] · weights [inputs, 2n] + bias [2n]`:
/// [`linear`] and [`geglu`] in one, the outputs of `shape` being the 2n of y.
///
/// y, twice as large as the result, is never in memory as a whole.
///
/// `out` is overwritten; its capacity is used again.
///
/// # Panics
/// If a slice has not the extent that `shape` gives it, panels of weights are not whole, or the outputs are an odd number.
pub fn linear_geglu<'w>(
    x: &[f32],
    weights: impl Into<LayerWeights<'w>>,
    bias: Option<&[f32]>,
    shape: LinearShape,
    out: &mut Vec<f32>,
) {
    let LinearShape { rows, outputs, .. } = shape;
    assert!(outputs.is_multiple_of(2), "half of the outputs of {shape:?} are gates");
    let n = outputs / 2;
    if !n.is_multiple_of(PANEL) {
        let mut y = Vec::new();
        linear(x, weights, bias, None, shape, &mut y);
        return geglu(&y, n, out);
    }
    let layer = Layer::new(x, weights.into(), bias, shape);

    let write = |out: Out<'_>| {
        let panels = n / PANEL;
        for_each_block(rows, panels, TASK_PANELS, |rows, values| {
            let gates = values.start + panels..values.end + panels;
            let columns = layer.columns(&values);
            let mut y = Products::new(layer, rows.clone(), [values, gates]);
            for (row, y) in rows.zip(y.rows()) {
                let (values, gates) = y.split_at(columns.len());
                let to = out.at(row * n + columns.start, columns.len());
                // SAFETY: this block of the output is this task's.
                unsafe { map(gates.as_ptr(), to, gates.len(), Gate(values)) };
            }
        });
    };
    // SAFETY: the blocks cover all rows and all columns, and each writes all of its own.
    unsafe { fill(out, rows * n, write) };
}
