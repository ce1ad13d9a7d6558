//! From M to pixels: `Aᵀ m A` of every tile, and the epilogue.

#![expect(unsafe_code, reason = "transforms and transposes through pointers")]

use std::{mem::MaybeUninit, ops::Range};

use super::{Conv, Grid, Layout, Points, SEGMENT};
use crate::{
    elementwise::InOut,
    gemm::Ahead,
    operands::{RowsMut, Unwritten},
    output::Out,
    panel::PANEL,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch, load_all},
};

/// Writes the pixels of the tiles `columns` of a row of tiles of the 16 channels from `channel` on, of which those beyond
/// the last are dropped; `m` starts at the first tile and channel.
///
/// # Safety
/// Nobody else uses these pixels of `out` meanwhile.
pub(super) unsafe fn transform<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    grid: Grid,
    (row, columns, channel): (usize, Range<usize>, usize),
    (m, layout): (&[f32], Layout),
    out: Out<'_, MaybeUninit<f32>>,
) {
    let (image, row) = grid.image_and_row(row);
    let line = row * N;
    let lines = N.min(conv.height - line);
    let channels = PANEL.min(conv.shape.outputs - channel);
    let mut summands = [0.0; PANEL];
    for (c, summand) in summands[..channels].iter_mut().enumerate() {
        *summand = conv.summand(image, channel + c);
    }
    let mut strip = Scratch::take(N * N * SEGMENT * PANEL);
    for first in columns.clone().step_by(SEGMENT) {
        let tiles = SEGMENT.min(columns.end - first);
        let m = &m[(first - columns.start) * layout.row..];
        dispatch(Transform { m, layout, tiles, summands, strip: &mut strip, points });
        let column = first * N;
        let pixels = (tiles * N).min(conv.width - column);
        for (r, strip) in strip.chunks_exact(N * SEGMENT * PANEL).take(lines).enumerate() {
            let pixel = (line + r) * conv.width + column;
            let start = conv.plane(image, channel) + pixel;
            dispatch(AskForNext { conv, channel, start, pixels, out });
            // SAFETY: the caller's promise.
            let to = unsafe { out.rows(start, [channels, pixels], conv.area()) };
            let mut sums = dispatch(Scatter { strip, to });
            let unfinished = if conv.has_finish() { 0..channels } else { 0..0 };
            for c in unfinished {
                conv.finish(InOut::in_place(sums.row(c)), start + c * conv.area(), 0.0);
            }
        }
    }
}

/// Transforms a segment of tiles in both directions to a strip `[N][pixels][16 channels]`.
struct Transform<'a, F, const D: usize, const P: usize, const N: usize> {
    m: &'a [f32],
    layout: Layout,
    tiles: usize,
    /// One number for each channel, added to its pixels.
    summands: [f32; PANEL],
    strip: &'a mut [f32],
    /// The transforms.
    points: F,
}

impl<F: Points<D, P, N>, const D: usize, const P: usize, const N: usize> Kernel
    for Transform<'_, F, D, P, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { m, layout, tiles, summands, strip, points } = self;
        let needed = (P * P - 1) * layout.place + (tiles - 1) * layout.row + PANEL;
        assert!(m.len() >= needed && strip.len() >= N * N * SEGMENT * PANEL, "kernel bug: too few sums");
        for tile in 0..tiles {
            for lane in (0..PANEL).step_by(S::LANES) {
                // SAFETY: both lengths were checked.
                unsafe {
                    let summand = simd.load(summands.as_ptr().add(lane));
                    let m = m.as_ptr().add(tile * layout.row + lane);
                    let mut half = [[simd.splat(0.0); P]; N];
                    for c in 0..P {
                        let sums = load_all(simd, m.add(c * layout.place), P * layout.place);
                        for (half, value) in half.iter_mut().zip(points.output(simd, sums)) {
                            half[c] = value;
                        }
                    }
                    for (r, half) in half.into_iter().enumerate() {
                        let to = strip.as_mut_ptr().add((r * SEGMENT + tile) * N * PANEL + lane);
                        for (i, value) in points.output(simd, half).into_iter().enumerate() {
                            simd.store(to.add(i * PANEL), simd.add(value, summand));
                        }
                    }
                }
            }
        }
    }
}

/// Copies one line `strip [pixels][16]` to a row for each channel.
struct Scatter<'a, 'to> {
    strip: &'a [f32],
    /// `[channels, pixels]`.
    to: Unwritten<'to>,
}

impl<'to> Kernel for Scatter<'_, 'to> {
    type Output = RowsMut<'to>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> RowsMut<'to> {
        let Self { strip, mut to } = self;
        let (channels, pixels, stride) = (to.rows(), to.columns(), to.stride());
        assert!(strip.len() >= pixels * PANEL && channels <= PANEL, "kernel bug: a short strip");
        let start = to.as_mut_ptr().cast::<f32>();
        for lane in [0, 8] {
            let mut done = 0;
            if lane + 8 <= channels {
                while done + 8 <= pixels {
                    // SAFETY: 8 of `pixels` rows of the strip, in 8 of `channels` rows and 8 of `pixels` columns of the output.
                    unsafe {
                        let from = strip.as_ptr().add(done * PANEL + lane);
                        simd.transpose8(from, PANEL, start.add(lane * stride + done), stride);
                    }
                    done += 8;
                }
            }
            for c in lane..channels.min(lane + 8) {
                for pixel in done..pixels {
                    // SAFETY: a row and a column of the output.
                    unsafe { *start.add(c * stride + pixel) = strip[pixel * PANEL + c] };
                }
            }
        }
        // SAFETY: for each channel, the pixels before `done` were transposed, and those from there on followed.
        unsafe { to.assume_written() }
    }
}

/// Asks for the pixels of the next 16 channels, and of what is added to them, of which those of this one start at `start`.
struct AskForNext<'a> {
    conv: &'a Conv<'a>,
    channel: usize,
    start: usize,
    pixels: usize,
    out: Out<'a, MaybeUninit<f32>>,
}

impl Kernel for AskForNext<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { conv, channel, start, pixels, out } = self;
        let area = conv.area();
        let channels = conv.shape.outputs.saturating_sub(channel + PANEL).min(PANEL);
        let next = start + PANEL * area;
        if channels > 0 {
            Ahead::of(out.address(next).cast(), area, channels, pixels).ask_for_all(simd);
            if let Some(residual) = conv.epilogue.residual {
                Ahead::of(residual[next..].as_ptr(), area, channels, pixels).ask_for_all(simd);
            }
        }
    }
}
