//! A linear layer and the gate that its output goes through, without that output as a whole.

use super::{Input, Layer, LayerWeights, LinearShape, Products, linear, panels_of};
use crate::{
    elementwise::{Gate, InOut, geglu, map},
    output::fill,
    panel::PANEL,
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
    let outputs = shape.outputs;
    assert!(outputs.is_multiple_of(2), "half of the outputs of {shape:?} are gates");
    let n = outputs / 2;
    if !n.is_multiple_of(PANEL) {
        let mut y = Vec::new();
        linear(x, weights, bias, None, shape, &mut y);
        return geglu(&y, n, out);
    }
    let weights = weights.into();
    let input = Input::of(x, weights, shape);
    let layer = Layer::new(x, weights, bias, shape).with_input(&input);

    fill(out, layer.by_blocks(n, TASK_PANELS), |block, to| {
        let values = panels_of(&block.columns);
        let gates = values.start + n / PANEL..values.end + n / PANEL;
        let mut y = Products::new(layer, block.rows, [values, gates]);
        to.write(|row, to| {
            let (values, gates) = y.row(row).split_at(to.len());
            map(InOut::new(gates, to), Gate(values))
        })
    });
}
