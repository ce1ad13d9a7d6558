//! From weights to U: `G g Gᵀ` of every 3x3 kernel.

#![expect(unsafe_code, reason = "transforms through pointers")]

use std::ops::Range;

use super::{Conv, points};
use crate::{
    LayerWeights, Weights,
    gemm::PANEL,
    pack,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
    weights::Stored,
};

/// Weights of a kernel.
const TAPS: usize = 9;

/// Transforms the weights of the 16 output channels from `output` on and of the input channels `depth`:
/// the `[depth][16]` values of place `xi` go to `to(xi)`. Channels that do not exist are zero.
///
/// # Safety
/// Those places are valid for writes and nobody else uses them meanwhile.
pub(super) unsafe fn transform(
    conv: &Conv<'_>,
    output: usize,
    depth: Range<usize>,
    to: impl Fn(usize) -> *mut f32,
) {
    let inputs = conv.x.channels();
    let (start, taps) = (depth.start * TAPS, depth.len() * TAPS);
    let places = std::array::from_fn(to);
    match conv.weights {
        LayerWeights::Panels(values) => {
            let first = output * inputs * TAPS + start * PANEL;
            let columns = first..first + taps * PANEL;
            match values {
                Weights::F32(values) => dispatch(Transform { columns: &values[columns], places }),
                Weights::F16(values) => dispatch(Transform { columns: &values[columns], places }),
                Weights::BF16(values) => dispatch(Transform { columns: &values[columns], places }),
            }
        }
        LayerWeights::Plain(ref values) => {
            let mut columns = Scratch::take(taps * PANEL);
            let outputs = PANEL.min(conv.shape.outputs - output);
            let first = output * inputs * TAPS + start;
            transpose(values, first, (inputs * TAPS, outputs), taps, &mut columns);
            dispatch(Transform { columns: &columns, places });
        }
    }
}

/// `taps` weights of each of `outputs` channels, `stride` apart and those of the first from `first` on, become the columns
/// of a panel.
fn transpose(
    weights: &Weights<'_>,
    first: usize,
    (stride, outputs): (usize, usize),
    taps: usize,
    panel: &mut [f32],
) {
    match weights {
        Weights::F32(weights) => pack::transpose(&weights[first..], stride, outputs, taps, panel),
        half => {
            let mut rows = Scratch::take(outputs * taps);
            for (o, row) in rows.chunks_exact_mut(taps).enumerate() {
                half.read(first + o * stride, row);
            }
            pack::transpose(&rows, taps, outputs, taps, panel);
        }
    }
}

/// Transforms `columns [inputs][9][16]` in both directions.
struct Transform<'a, T> {
    columns: &'a [T],
    /// Where the `[inputs][16]` values of each place go.
    places: [*mut f32; 36],
}

impl<T: Stored> Kernel for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { columns, places } = self;
        for (input, columns) in columns.chunks_exact(TAPS * PANEL).enumerate() {
            for lane in (0..PANEL).step_by(S::LANES) {
                // SAFETY: an input has nine rows of a panel; the places are the promise of `transform`.
                unsafe {
                    let at = columns.as_ptr().add(lane);
                    let mut half = [[simd.splat(0.0); 6]; 3];
                    for (c, half) in half.iter_mut().enumerate() {
                        let mut taps = [simd.splat(0.0); 3];
                        for (r, tap) in taps.iter_mut().enumerate() {
                            *tap = T::load(simd, at.add((3 * r + c) * PANEL));
                        }
                        *half = points::weights(simd, taps);
                    }
                    for r in 0..6 {
                        let row = points::weights(simd, [half[0][r], half[1][r], half[2][r]]);
                        for (i, value) in row.into_iter().enumerate() {
                            simd.store(places[r * 6 + i].add(input * PANEL + lane), value);
                        }
                    }
                }
            }
        }
    }
}
