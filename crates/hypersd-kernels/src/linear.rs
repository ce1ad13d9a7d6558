//! The linear layer.

#![expect(unsafe_code, reason = "tasks write disjoint blocks of one output")]

use std::ops::Range;

use crate::{
    LayerWeights, Weights,
    gemm::{Ahead, Base, DEPTH, PANEL, Product, depth_chunks, term},
    output::{Out, fill, parallel, share},
    pack::copy_row,
    scratch::Scratch,
};

/// The most panels of weights that one task multiplies: 320 columns, five whole tiles, in which most layers' outputs come.
const TASK_PANELS: usize = 20;
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
/// If a slice has not the extent that `shape` gives it, or panels of weights are not whole.
pub fn linear<'w>(
    x: &[f32],
    weights: impl Into<LayerWeights<'w>>,
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    shape: LinearShape,
    out: &mut Vec<f32>,
) {
    let LinearShape { rows, inputs, outputs } = shape;
    assert_eq!(x.len(), rows * inputs, "x is [rows, inputs] of {shape:?}");
    let weights = weights.into();
    weights.check(outputs, inputs, &shape);
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs] of {shape:?}");
    assert!(residual.is_none_or(|r| r.len() == rows * outputs), "residual is [rows, outputs] of {shape:?}");

    let row_tasks = rows.div_ceil(TASK_ROWS);
    let panels = outputs.div_ceil(PANEL);
    let column_tasks = column_tasks(row_tasks, panels);
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

/// Into how many parts the columns are split: each is narrow enough to be packed, every thread has some, and all have
/// the same number, or the last would keep the others waiting.
fn column_tasks(row_tasks: usize, panels: usize) -> usize {
    let threads = rayon::current_num_threads();
    let least = panels.div_ceil(TASK_PANELS).max((2 * threads).div_ceil(row_tasks.max(1)));
    let most = (panels / 2).max(1);
    let even = (least..least + threads).find(|tasks| (row_tasks * tasks).is_multiple_of(threads));
    even.unwrap_or(least).min(most)
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
        weights: LayerWeights<'_>,
        bias: Option<&[f32]>,
        residual: Option<&[f32]>,
        shape: LinearShape,
        out: Out<'_>,
    ) {
        let LinearShape { inputs, outputs, .. } = shape;
        let rows = &self.rows;
        let columns = self.panels.start * PANEL..(self.panels.end * PANEL).min(outputs);
        let first = rows.start * outputs + columns.start;
        let terms = Base::Terms {
            row: term(bias.map(|bias| &bias[columns.clone()])),
            matrix: term(residual.map(|residual| &residual[first..])),
        };
        let chunks = depth_chunks(inputs);
        let mut room = Scratch::take(match weights {
            LayerWeights::Panels(Weights::F32(_)) => 0,
            _ => self.panels.len() * inputs.div_ceil(chunks) * PANEL,
        });
        for chunk in 0..chunks {
            let depth = share(inputs, chunks, chunk);
            let (panels, panel_stride) = self.panels(depth.clone(), weights, shape, &mut room);
            let product = Product {
                m: rows.len(),
                n: columns.len(),
                k: depth.len(),
                a: x[rows.start * inputs + depth.start..].as_ptr(),
                a_stride: inputs,
                a_step: 1,
                b: panels.as_ptr(),
                panel_stride,
                b_step: PANEL,
                c: out.at(first, (rows.len() - 1) * outputs + columns.len()),
                c_stride: outputs,
                base: if chunk == 0 { terms } else { Base::Itself },
                run: DEPTH,
                next: self.weights_after(chunk, weights, shape),
            };
            // SAFETY: x has these rows and depths, the panels these columns and depths, the bias these columns, the
            // residual the shape of `out`, of which this block is this task's.
            unsafe { product.run() };
        }
    }

    /// The rows `depth` of the panels of this block, from their first value on, and how far apart the panels are: where
    /// the weights lie if they can be read there, else in `room`.
    fn panels<'a>(
        &self,
        depth: Range<usize>,
        weights: LayerWeights<'a>,
        shape: LinearShape,
        room: &'a mut [f32],
    ) -> (&'a [f32], usize) {
        let LinearShape { inputs, outputs, .. } = shape;
        let start = |panel: usize| (panel * inputs + depth.start) * PANEL;
        let len = depth.len() * PANEL;
        match weights {
            LayerWeights::Panels(Weights::F32(values)) => {
                let end = start(self.panels.end - 1) + len;
                return (&values[start(self.panels.start)..end], inputs * PANEL);
            }
            LayerWeights::Panels(half) => {
                for (panel, room) in self.panels.clone().zip(room.chunks_exact_mut(len.max(1))) {
                    half.read(start(panel), room);
                }
            }
            LayerWeights::Plain(values) => {
                let columns = self.panels.start * PANEL..(self.panels.end * PANEL).min(outputs);
                pack(values, outputs, depth.clone(), columns, room);
            }
        }
        (room, len)
    }

    /// The weights that are read after those of `chunk`: of the next depths, or of the next columns, which this thread
    /// takes next unless another has.
    fn weights_after(&self, chunk: usize, weights: LayerWeights<'_>, shape: LinearShape) -> Ahead {
        let LinearShape { inputs, outputs, .. } = shape;
        let chunks = depth_chunks(inputs);
        let last = chunk + 1 == chunks;
        let depth = share(inputs, chunks, if last { 0 } else { chunk + 1 });
        let panel = if last { self.panels.end } else { self.panels.start };
        match weights {
            LayerWeights::Plain(values) => {
                let columns = (self.panels.len() * PANEL).min(outputs.saturating_sub(panel * PANEL));
                let (start, size) = values.address(depth.start * outputs + panel * PANEL);
                Ahead::new(start, outputs * size, depth.len(), columns * size)
            }
            LayerWeights::Panels(values) => {
                let panels = self.panels.len().min(outputs / PANEL - panel);
                let (start, size) = values.address((panel * inputs + depth.start) * PANEL);
                Ahead::new(start, inputs * PANEL * size, panels, depth.len() * PANEL * size)
            }
        }
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
