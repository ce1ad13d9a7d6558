//! From weights to U: `G g Gᵀ` of every 3x3 kernel.

#![expect(unsafe_code, reason = "places are written through pointers")]

use std::ops::Range;

use super::{Conv, Places, Points};
use crate::{
    LayerWeights, Weights, pack,
    panel::PANEL,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
    weights::Stored,
};

/// Weights of a kernel.
const TAPS: usize = 9;

/// Transforms the weights of the 16 output channels from `output` on and of the input channels `depth` to the
/// `[depth, 16]` values of each place. Channels that do not exist are zero.
pub(super) fn transform<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    output: usize,
    depth: Range<usize>,
    mut places: Places<'_>,
) {
    let inputs = conv.x.channels();
    let (start, taps) = (depth.start * TAPS, depth.len() * TAPS);
    assert_eq!(places.stride(), PANEL, "kernel bug: rows of a panel lie apart");
    let places = places.starts(0, depth.len());
    match conv.weights {
        LayerWeights::Panels(values) => {
            let first = output * inputs * TAPS + start * PANEL;
            let columns = first..first + taps * PANEL;
            match values {
                Weights::F32(values) => dispatch(Transform { columns: &values[columns], places, points }),
                Weights::F16(values) => dispatch(Transform { columns: &values[columns], places, points }),
                Weights::BF16(values) => dispatch(Transform { columns: &values[columns], places, points }),
            }
        }
        LayerWeights::Plain(ref values) => {
            let mut columns = Scratch::take(taps * PANEL);
            let outputs = PANEL.min(conv.shape.outputs - output);
            let first = output * inputs * TAPS + start;
            transpose(values, first, (inputs * TAPS, outputs), taps, &mut columns);
            dispatch(Transform { columns: &columns, places, points });
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
struct Transform<'a, T, F, const D: usize, const P: usize, const N: usize> {
    columns: &'a [T],
    /// The `[inputs][16]` values of each place: [starts](Places::starts) of as many inputs as `columns` has.
    places: [[*mut f32; P]; P],
    /// The transforms.
    points: F,
}

impl<T: Stored, F: Points<D, P, N>, const D: usize, const P: usize, const N: usize> Kernel
    for Transform<'_, T, F, D, P, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { columns, places, points } = self;
        for (input, columns) in columns.chunks_exact(TAPS * PANEL).enumerate() {
            for lane in (0..PANEL).step_by(S::LANES) {
                let mut half = [[simd.splat(0.0); P]; 3];
                for (c, half) in half.iter_mut().enumerate() {
                    let mut taps = [simd.splat(0.0); 3];
                    for (r, tap) in taps.iter_mut().enumerate() {
                        *tap = T::load(simd, &columns[(3 * r + c) * PANEL + lane..]);
                    }
                    *half = points.weights(simd, taps);
                }
                for (r, places) in places.iter().enumerate() {
                    let row = points.weights(simd, [half[0][r], half[1][r], half[2][r]]);
                    for (place, value) in places.iter().zip(row) {
                        // SAFETY: a place has a row of a panel for each input.
                        unsafe { simd.store(place.add(input * PANEL + lane), value) };
                    }
                }
            }
        }
    }
}
