//! A linear layer in int8 or bf16.

use std::ops::Range;

use half::bf16;

use super::{Layer, LinearShape};
use crate::{
    LayerWeights,
    narrow::{self, Columns, Finish, InputRows, Int8Panel, Tiles, as_words, as_words_mut, bf16_pairs},
    operands::RowsMut,
    panel::PANEL,
    scratch::Scratch,
};

/// Panels of bf16 that are brought into pairs at once: those of the widest tile, which all rows then meet.
const PAIRED: usize = 4;

/// The input of a layer as narrow numbers.
pub(super) struct Input {
    rows: InputRows,
}

/// Checks that int8 weights are those of a layer.
pub(super) fn check_int8(words: &[u32], shape: LinearShape) {
    let LinearShape { inputs, outputs, .. } = shape;
    assert!(outputs.is_multiple_of(PANEL), "{outputs} outputs of {shape:?} are no panels of {PANEL}");
    assert_eq!(
        words.len(),
        narrow::int8_panels_len([outputs, inputs]),
        "weights are int8 panels of {shape:?}"
    );
}

impl Input {
    /// `x` as it is multiplied with such weights, if these are narrow.
    pub(super) fn of(x: &[f32], weights: LayerWeights<'_>, shape: LinearShape) -> Option<Self> {
        let LinearShape { rows, inputs, .. } = shape;
        assert_eq!(x.len(), rows * inputs, "x is [rows, inputs] of {shape:?}");
        match weights {
            LayerWeights::Plain(_) | LayerWeights::Panels(_) => None,
            LayerWeights::Bf16(_) => Some(Self { rows: InputRows::bf16(x, rows, inputs) }),
            LayerWeights::Int8(_) => Some(Self { rows: InputRows::int8(x, rows, inputs) }),
        }
    }

    /// Writes to `c` the products of some rows with some panels, plus the bias.
    pub(super) fn multiply(
        &self,
        layer: &Layer<'_>,
        first_row: usize,
        panels: &Range<usize>,
        c: RowsMut<'_>,
    ) {
        let bias = layer.bias.map(|bias| &bias[layer.columns(panels)]);
        match layer.weights {
            LayerWeights::Int8(words) => self.int8(words, layer.shape.inputs, first_row, panels, bias, c),
            LayerWeights::Bf16(values) => self.bf16(values, layer.shape.inputs, first_row, panels, bias, c),
            LayerWeights::Plain(_) | LayerWeights::Panels(_) => {
                unreachable!("kernel bug: wide weights among narrow products")
            }
        }
    }

    fn int8(
        &self,
        weights: &[u32],
        inputs: usize,
        first_row: usize,
        panels: &Range<usize>,
        bias: Option<&[f32]>,
        c: RowsMut<'_>,
    ) {
        let (words, stride) = Int8Panel::words(weights, panels.start, inputs);
        narrow::int8::<false>(Tiles {
            rows: self.rows.rows(first_row, c.rows()),
            columns: Columns::new(words, panels.len(), (&[0], inputs.div_ceil(4)), PANEL, stride),
            finish: Scaled { input: &self.rows, first_row, weights, inputs, panel: panels.start, bias, c },
        });
    }

    fn bf16(
        &self,
        weights: &[bf16],
        inputs: usize,
        first_row: usize,
        panels: &Range<usize>,
        bias: Option<&[f32]>,
        mut c: RowsMut<'_>,
    ) {
        let depth = inputs.div_ceil(2);
        let stride = depth * PANEL;
        let mut pairs = Scratch::take(PAIRED * stride);
        for first in panels.clone().step_by(PAIRED) {
            let count = PAIRED.min(panels.end - first);
            for (panel, pairs) in (first..).zip(pairs.chunks_exact_mut(stride.max(1)).take(count)) {
                bf16_pairs(&weights[panel * inputs * PANEL..][..inputs * PANEL], as_words_mut(pairs));
            }
            narrow::bf16(Tiles {
                rows: self.rows.rows(first_row, c.rows()),
                columns: Columns::new(as_words(&pairs), count, (&[0], depth), PANEL, stride),
                finish: Biased { first: (first - panels.start) * PANEL, bias, c: &mut c },
            });
        }
    }
}

/// Sums of bytes become products, plus the bias.
struct Scaled<'a> {
    input: &'a InputRows,
    first_row: usize,
    weights: &'a [u32],
    inputs: usize,
    /// The first panel of weights.
    panel: usize,
    bias: Option<&'a [f32]>,
    c: RowsMut<'a>,
}

impl Finish<i32> for Scaled<'_> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[i32]) {
        let width = columns.len();
        for column in (0..width).step_by(PANEL) {
            let panel = (columns.start + column) / PANEL;
            let header = Int8Panel::new(self.weights, self.panel + panel, self.inputs);
            let (scales, weights): (&[u32; PANEL], &[u32; PANEL]) =
                (header.scales.try_into().expect("a panel"), header.sums.try_into().expect("a panel"));
            let bias: &[f32; PANEL] = match self.bias {
                Some(bias) => bias[panel * PANEL..][..PANEL].try_into().expect("a panel"),
                None => &[0.0; PANEL],
            };
            for (r, row) in rows.clone().enumerate() {
                let (scale, zero) = self.input.range(self.first_row + row);
                let sums: &[i32; PANEL] = sums[r * width + column..][..PANEL].try_into().expect("a panel");
                let to = &mut self.c.row(row)[columns.start + column..][..PANEL];
                for (j, to) in to.iter_mut().enumerate() {
                    let sum = sums[j].wrapping_sub(zero.wrapping_mul(weights[j].cast_signed()));
                    *to = sum as f32 * (scale * f32::from_bits(scales[j])) + bias[j];
                }
            }
        }
    }
}

/// Sums of bf16, plus the bias.
struct Biased<'a, 'c> {
    /// The first column of the first panel.
    first: usize,
    bias: Option<&'a [f32]>,
    c: &'a mut RowsMut<'c>,
}

impl Finish<f32> for Biased<'_, '_> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[f32]) {
        let columns = self.first + columns.start..self.first + columns.end;
        for (row, sums) in rows.zip(sums.chunks_exact(columns.len())) {
            let to = &mut self.c.row(row)[columns.clone()];
            match self.bias {
                Some(bias) => {
                    for ((to, sum), bias) in to.iter_mut().zip(sums).zip(&bias[columns.clone()]) {
                        *to = sum + bias;
                    }
                }
                None => to.copy_from_slice(sums),
            }
        }
    }
}
