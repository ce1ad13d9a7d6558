//! From weights to U: `G g Gᵀ` of every 3x3 kernel.

#![expect(unsafe_code, reason = "transforms through pointers")]

use std::ops::Range;

use super::{Conv, WEIGHT_DEPTH, points};
use crate::{
    LayerWeights, Weights,
    gemm::PANEL,
    pack,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch, load_all},
};

/// Weights of a kernel.
const TAPS: usize = 9;

/// Transforms the weights of the 16 output channels from `output` on and of the input channels `depth`, at most
/// [`WEIGHT_DEPTH`]: the `[depth][16]` values of place `xi` go to `to(xi)`. Channels that do not exist are zero.
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
    let mut room = Scratch::take(WEIGHT_DEPTH * TAPS * PANEL);
    let columns = match conv.weights {
        LayerWeights::Panels(ref values) => {
            values.read(output * inputs * TAPS + start * PANEL, &mut room[..taps * PANEL])
        }
        LayerWeights::Plain(ref values) => {
            let outputs = PANEL.min(conv.shape.outputs - output);
            let first = output * inputs * TAPS + start;
            transpose(values, first, (inputs * TAPS, outputs), taps, &mut room);
            &room
        }
    };
    dispatch(Transform { columns, inputs: depth.len(), places: std::array::from_fn(to) });
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
struct Transform<'a> {
    columns: &'a [f32],
    inputs: usize,
    /// Where the `[inputs][16]` values of each place go.
    places: [*mut f32; 36],
}

impl Kernel for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { columns, inputs, places } = self;
        assert!(columns.len() >= inputs * TAPS * PANEL, "kernel bug: too few weights");
        for input in 0..inputs {
            for lane in (0..PANEL).step_by(S::LANES) {
                // SAFETY: the length was checked; the places are the promise of `transform`.
                unsafe {
                    let at = columns.as_ptr().add(input * TAPS * PANEL + lane);
                    let mut half = [[simd.splat(0.0); 6]; 3];
                    for (c, half) in half.iter_mut().enumerate() {
                        let taps = load_all(simd, at.add(c * PANEL), 3 * PANEL);
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
