//! From weights to U: `G g Gᵀ` of every 3x3 kernel.

#![expect(unsafe_code, reason = "places are written through pointers")]

use std::ops::Range;

use half::bf16;

use super::{Conv, Places, Points};
use crate::{
    LayerWeights, Weights,
    narrow::rounded,
    pack,
    panel::PANEL,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch},
    weights::Stored,
};

/// Weights of a kernel.
const TAPS: usize = 9;

/// Transforms the weights of the 16 output channels from `output` on and of the input channels `depth` to the
/// `[depth, 16]` values of each place, if `halves` as words of two bf16 `[depth / 2, 16]`. Channels that do not exist are
/// zero.
pub(super) fn transform<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    output: usize,
    depth: Range<usize>,
    mut places: Places<'_>,
    halves: bool,
) {
    let inputs = conv.x.channels();
    let (start, taps) = (depth.start * TAPS, depth.len() * TAPS);
    assert_eq!(places.stride(), PANEL, "kernel bug: rows of a panel lie apart");
    let places = places.starts(0, if halves { depth.len() / 2 } else { depth.len() });
    match conv.weights.wide([3, 3]) {
        LayerWeights::Panels(values) => {
            let first = output * inputs * TAPS + start * PANEL;
            let columns = first..first + taps * PANEL;
            match values {
                Weights::BF16(values) if halves => {
                    dispatch(HalfTransform { columns: &values[columns], places, points });
                }
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
        LayerWeights::Bf16(_) | LayerWeights::Int8(_) => unreachable!("kernel bug: narrow weights"),
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
                // SAFETY: a place has a row of a panel for each input.
                unsafe {
                    of_input(simd, points, columns, lane, |r, i| places[r][i].wrapping_add(input * PANEL))
                };
            }
        }
    }
}

/// Transforms the weights `[9][16]` of an input, of the outputs from `lane` on, each place to its row of a panel.
///
/// # Safety
/// The rows that `to` gives are valid for writes of 16 values.
#[inline(always)]
unsafe fn of_input<S: Simd, T: Stored, const D: usize, const P: usize, const N: usize>(
    simd: S,
    points: impl Points<D, P, N>,
    columns: &[T],
    lane: usize,
    to: impl Fn(usize, usize) -> *mut f32,
) {
    let mut half = [[simd.splat(0.0); P]; 3];
    for (c, half) in half.iter_mut().enumerate() {
        let mut taps = [simd.splat(0.0); 3];
        for (r, tap) in taps.iter_mut().enumerate() {
            *tap = T::load(simd, &columns[(3 * r + c) * PANEL + lane..]);
        }
        *half = points.weights(simd, taps);
    }
    let [left, middle, right] = &half;
    for (r, ((&left, &middle), &right)) in left.iter().zip(middle).zip(right).enumerate() {
        let row = points.weights(simd, [left, middle, right]);
        for (i, value) in row.into_iter().enumerate() {
            // SAFETY: the caller's promise; `lane` is that of a vector in the panel.
            unsafe { simd.store(to(r, i).wrapping_add(lane), value) };
        }
    }
}

/// As [`Transform`], to words of the bf16 of two inputs.
struct HalfTransform<'a, F, const D: usize, const P: usize, const N: usize> {
    columns: &'a [bf16],
    /// The `[inputs / 2][16]` words of each place.
    places: [[*mut f32; P]; P],
    points: F,
}

impl<F: Points<D, P, N>, const D: usize, const P: usize, const N: usize> Kernel
    for HalfTransform<'_, F, D, P, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { columns, places, points } = self;
        let mut wide = [[[[0.0_f32; PANEL]; P]; P]; 2];
        for (pair, columns) in columns.chunks_exact(2 * TAPS * PANEL).enumerate() {
            for (columns, wide) in columns.chunks_exact(TAPS * PANEL).zip(&mut wide) {
                let start = wide.as_mut_ptr().cast::<f32>();
                for lane in (0..PANEL).step_by(S::LANES) {
                    // SAFETY: there is a row of a panel for each place.
                    unsafe {
                        of_input(simd, points, columns, lane, |r, i| start.wrapping_add((r * P + i) * PANEL));
                    }
                }
            }
            let [even, odd] = &wide;
            for (r, places) in places.iter().enumerate() {
                for (i, place) in places.iter().enumerate() {
                    let words = place.wrapping_add(pair * PANEL).cast::<u32>();
                    for (lane, (&even, &odd)) in even[r][i].iter().zip(&odd[r][i]).enumerate() {
                        // SAFETY: a place has a row of a panel for each pair of inputs.
                        unsafe { words.add(lane).write(rounded(even) | rounded(odd) << 16) };
                    }
                }
            }
        }
    }
}
