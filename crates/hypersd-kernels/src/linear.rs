//! The linear layer.

use std::ops::Range;

use crate::{
    LayerWeights, Weights,
    gemm::{Ahead, Base, DEPTH, Product, depth_chunks},
    operands::{Panels, Rows, RowsMut},
    output::{Axis, Split, fill, share},
    pack::copy_row,
    panel::PANEL,
    scratch::{Scratch, odd_lines},
};

mod gated;
mod narrow;

pub use gated::linear_geglu;
use narrow::Input;

/// The most panels of weights that one task multiplies: 320 columns, five whole tiles, in which most layers' outputs come.
const TASK_PANELS: usize = 20;
/// Rows of one task: enough to make its packing cheap.
const TASK_ROWS: usize = 512;
/// Rows of a task of int8 products, which packs nothing: its sums stay in the second-level cache.
const NARROW_TASK_ROWS: usize = 128;
/// Rows that are not split further: those of a tile.
const NARROW_UNIT: usize = 6;

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
    let LinearShape { rows, outputs, .. } = shape;
    let weights = weights.into();
    let input = Input::of(x, weights, shape);
    let layer = Layer::new(x, weights, bias, shape).with_input(&input);
    assert!(residual.is_none_or(|r| r.len() == rows * outputs), "residual is [rows, outputs] of {shape:?}");

    fill(out, layer.by_blocks(outputs, TASK_PANELS), |block, to| {
        let mut y = Products::new(layer, block.rows.clone(), [panels_of(&block.columns)]);
        to.write(|row, to| {
            let y = y.row(row);
            if let Some(residual) = residual {
                let first = (block.rows.start + row) * outputs + block.columns.start;
                y.iter_mut().zip(&residual[first..]).for_each(|(y, residual)| *y += residual);
            }
            to.write_copy_of_slice(y)
        })
    });
}

/// The panels that columns lie in, of which the first begins one.
fn panels_of(columns: &Range<usize>) -> Range<usize> {
    columns.start / PANEL..columns.end.div_ceil(PANEL)
}

/// The number of parts that the columns are split into: each has at most so many panels, every thread has some, and all
/// have the same number, or the last would keep the others waiting.
fn column_tasks(row_tasks: usize, panels: usize, most_panels: usize) -> usize {
    let threads = rayon::current_num_threads();
    let least = panels.div_ceil(most_panels).max((2 * threads).div_ceil(row_tasks.max(1)));
    let most = (panels / 2).max(1).min(panels);
    let even = (least..least + threads).find(|tasks| (row_tasks * tasks).is_multiple_of(threads));
    even.unwrap_or(least).min(most)
}

/// A layer and its input.
#[derive(Clone, Copy)]
struct Layer<'a> {
    x: &'a [f32],
    weights: LayerWeights<'a>,
    bias: Option<&'a [f32]>,
    shape: LinearShape,
    /// The input as narrow numbers, if it is multiplied so.
    input: Option<&'a Input>,
}

impl<'a> Layer<'a> {
    fn new(x: &'a [f32], weights: LayerWeights<'a>, bias: Option<&'a [f32]>, shape: LinearShape) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        assert_eq!(x.len(), rows * inputs, "x is [rows, inputs] of {shape:?}");
        weights.check(outputs, inputs, &shape);
        assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs] of {shape:?}");
        if let LayerWeights::Int8(words) = weights {
            narrow::check_int8(words, shape);
        }
        Self { x, weights, bias, shape, input: None }
    }

    /// The same of an input as narrow numbers, if it is multiplied so.
    fn with_input(self, input: &'a Option<Input>) -> Self {
        Self { input: input.as_ref(), ..self }
    }

    /// Blocks of an output of so many columns, each of whole panels and at most `most_panels` of them.
    fn by_blocks(&self, columns: usize, most_panels: usize) -> Split {
        let rows = self.shape.rows;
        let (most_rows, unit) = if self.packs() { (TASK_ROWS, 1) } else { (NARROW_TASK_ROWS, NARROW_UNIT) };
        let row_tasks = rows.div_ceil(most_rows);
        let column_tasks = column_tasks(row_tasks, columns.div_ceil(PANEL), most_panels);
        Split::new(1, Axis::new(rows, unit, row_tasks), Axis::new(columns, PANEL, column_tasks))
    }

    /// True if tasks copy weights that they cannot read where they are.
    fn packs(&self) -> bool {
        !matches!(self.weights, LayerWeights::Int8(_))
    }

    fn panels(&self) -> usize {
        self.shape.outputs.div_ceil(PANEL)
    }

    /// Chunks of the inputs that are multiplied at once.
    fn chunks(&self) -> usize {
        depth_chunks(self.shape.inputs)
    }

    /// The inputs of a chunk.
    fn depth(&self, chunk: usize) -> Range<usize> {
        share(self.shape.inputs, self.chunks(), chunk)
    }

    /// The outputs of some panels.
    fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * PANEL..(panels.end * PANEL).min(self.shape.outputs)
    }

    /// The values to make room for if the weights of a chunk and of so many panels cannot be read where they are.
    fn room(&self, panels: usize) -> usize {
        match self.weights {
            LayerWeights::Panels(Weights::F32(_)) => 0,
            _ => panels * self.depth(0).len() * PANEL,
        }
    }

    /// The weights of a chunk and of `panels`, those beyond the last left out, to be asked for before they are read.
    fn ahead(&self, chunk: usize, panels: &Range<usize>) -> Ahead {
        let LinearShape { inputs, outputs, .. } = self.shape;
        let depth = self.depth(chunk);
        match self.weights {
            LayerWeights::Plain(values) => {
                let columns = (panels.len() * PANEL).min(outputs.saturating_sub(panels.start * PANEL));
                let (start, size) = values.address(depth.start * outputs + panels.start * PANEL);
                Ahead::new(start, outputs * size, depth.len(), columns * size)
            }
            LayerWeights::Panels(values) => {
                let panels = panels.start..panels.end.min(self.panels());
                let (start, size) = values.address((panels.start * inputs + depth.start) * PANEL);
                Ahead::new(start, inputs * PANEL * size, panels.len(), depth.len() * PANEL * size)
            }
            LayerWeights::Bf16(_) | LayerWeights::Int8(_) => Ahead::NOTHING,
        }
    }

    /// Writes to `c` the products of the first chunk with the bias, or adds those of another.
    fn multiply(
        &self,
        first_row: usize,
        panels: &Range<usize>,
        chunk: usize,
        c: RowsMut<'_>,
        room: &mut [f32],
        next: Ahead,
    ) {
        let LinearShape { inputs, .. } = self.shape;
        let depth = self.depth(chunk);
        let base = match (chunk, self.bias) {
            (0, Some(bias)) => Base::Row(&bias[self.columns(panels)]),
            _ => Base::sum_of_pieces(chunk),
        };
        let x = &self.x[first_row * inputs + depth.start..];
        let a = Rows::new(x, [c.rows(), depth.len()], [inputs, 1]);
        let b = self.packed(panels, depth, room);
        Product { a, b, c, base, run: DEPTH, next }.run();
    }

    /// The rows `depth` of some panels of weights: where they lie if they can be read there, else in `room`.
    fn packed<'b>(&self, panels: &Range<usize>, depth: Range<usize>, room: &'b mut [f32]) -> Panels<'b>
    where
        'a: 'b,
    {
        let LinearShape { inputs, outputs, .. } = self.shape;
        let extents = [panels.len(), depth.len()];
        let start = |panel: usize| (panel * inputs + depth.start) * PANEL;
        let len = depth.len() * PANEL;
        match self.weights {
            LayerWeights::Panels(Weights::F32(values)) => {
                return Panels::new(&values[start(panels.start)..], extents, [inputs * PANEL, PANEL]);
            }
            LayerWeights::Bf16(_) | LayerWeights::Int8(_) => {
                unreachable!("kernel bug: narrow numbers among products of f32")
            }
            LayerWeights::Panels(half) => {
                for (panel, room) in panels.clone().zip(room.chunks_exact_mut(len.max(1))) {
                    half.read(start(panel), room);
                }
            }
            LayerWeights::Plain(values) => pack(values, outputs, depth, self.columns(panels), room),
        }
        Panels::new(room, extents, [len, PANEL])
    }
}

/// The sums of a task, before it writes them.
///
/// Rows of the output are far apart, often by a power of two, so that a block of them has a page for each row and little of
/// the caches for all; the sums, which every chunk of the inputs adds to, are kept close together.
struct Products {
    values: Scratch,
    /// Values from row to row.
    stride: usize,
    columns: usize,
}

impl Products {
    /// `x · weights + bias` of some rows and of the columns of each of `parts`, side by side; these are ranges of equally
    /// many panels.
    fn new<const N: usize>(layer: Layer<'_>, rows: Range<usize>, parts: [Range<usize>; N]) -> Self {
        let columns = layer.columns(&parts[0]).len();
        let stride = odd_lines(N * columns);
        let mut values = Scratch::take(rows.len() * stride);
        if let Some(input) = layer.input {
            for (i, panels) in parts.iter().enumerate() {
                let c = RowsMut::new(&mut values[i * columns..], [rows.len(), columns], stride);
                input.multiply(&layer, rows.start, panels, c);
            }
            return Self { values, stride, columns: N * columns };
        }
        let mut room = Scratch::take(layer.room(parts[0].len()));
        let following = parts[0].end..parts[0].end + parts[0].len();
        let chunks = layer.chunks();
        for chunk in 0..chunks {
            for (i, panels) in parts.iter().enumerate() {
                let next = match (parts.get(i + 1), chunk + 1) {
                    (Some(panels), _) => layer.ahead(chunk, panels),
                    (None, next) if next < chunks => layer.ahead(next, &parts[0]),
                    // Of the task that this thread takes next unless another has.
                    (None, _) => layer.ahead(0, &following),
                };
                let c = RowsMut::new(&mut values[i * columns..], [rows.len(), columns], stride);
                layer.multiply(rows.start, panels, chunk, c, &mut room, next);
            }
        }
        Self { values, stride, columns: N * columns }
    }

    fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.stride..][..self.columns]
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
