//! From pixels to V: `Bᵀ d B` of every tile.

#![expect(unsafe_code, reason = "transposes and transforms in place through pointers")]

use std::ops::Range;

use half::bf16;

use super::{Conv, Grid, Places, Points, SEGMENT};
use crate::{
    gemm::Ahead,
    panel::PANEL,
    scratch::Scratch,
    simd::{Kernel, Simd, dispatch, load_all},
};

/// Pixels along so many tiles, of `extent` pixels each.
const fn pixels(tiles: usize, extent: usize) -> usize {
    tiles * (extent - 2) + 2
}

/// Transforms the tiles `columns` of a row of tiles of the 16 channels from `channel` on: the 16 values of place `xi` and
/// the t-th of these tiles are row t of `places`, as bf16 if `halves`. Channels that do not exist are zero.
pub(super) fn transform<const D: usize, const P: usize, const N: usize>(
    points: impl Points<D, P, N>,
    conv: &Conv<'_>,
    grid: Grid,
    (row, columns, channel): (usize, Range<usize>, usize),
    mut places: Places<'_>,
    halves: bool,
) {
    let (image, row) = grid.image_and_row(row);
    let line = row * (D - 2);
    let mut strip = Scratch::take(P * pixels(SEGMENT, D) * PANEL);
    for first in columns.clone().step_by(SEGMENT) {
        let tiles = SEGMENT.min(columns.end - first);
        let window =
            Window { conv, image, channel, line, column: first * (D - 2), columns: pixels(tiles, D) };
        let line = pixels(SEGMENT, D) * PANEL;
        dispatch(Gather { window, strip: &mut strip[..D * line], stride: line });
        let (stride, places) = (places.stride(), places.starts(first - columns.start, tiles));
        if halves {
            dispatch(Transform::<_, true, D, P, N> { strip: &mut strip, tiles, places, stride, points });
        } else {
            dispatch(Transform::<_, false, D, P, N> { strip: &mut strip, tiles, places, stride, points });
        }
    }
}

/// The place of a strip: lines from `line` on, `columns` columns from `column` on, in the padded input.
#[derive(Clone, Copy)]
struct Window<'a> {
    conv: &'a Conv<'a>,
    image: usize,
    channel: usize,
    line: usize,
    column: usize,
    columns: usize,
}

/// Copies a window to a strip `[lines][columns][16 channels]`, zeros outside the input.
struct Gather<'a> {
    window: Window<'a>,
    strip: &'a mut [f32],
    /// Values from one line of the strip to the next.
    stride: usize,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Window { conv, line, column, columns, .. } = self.window;
        let padding = conv.shape.padding;
        let (height, width) = (conv.x.height(), conv.x.width());
        // The columns of the strip that lie inside the input.
        let first = padding.left.saturating_sub(column).min(columns);
        let last = (width + padding.left).saturating_sub(column).clamp(first, columns);
        for (r, strip) in self.strip.chunks_exact_mut(self.stride).enumerate() {
            let strip = &mut strip[..columns * PANEL];
            match (line + r).checked_sub(padding.top).filter(|&y| y < height) {
                Some(y) if first < last => {
                    strip[..first * PANEL].fill(0.0);
                    strip[last * PANEL..].fill(0.0);
                    let start = y * width + column + first - padding.left;
                    let strip = &mut strip[first * PANEL..last * PANEL];
                    self.window.line(simd, start, last - first, 0, strip);
                    self.window.line(simd, start, last - first, 8, strip);
                    self.window.ask_for_next(simd, start, last - first);
                }
                _ => strip.fill(0.0),
            }
        }
    }
}

impl Window<'_> {
    /// Asks for the same pixels of the next 16 channels, which are in 16 other places of the memory.
    #[inline(always)]
    fn ask_for_next<S: Simd>(&self, simd: S, start: usize, len: usize) {
        let x = self.conv.x;
        let channel = self.channel + PANEL;
        if channel < x.channels() {
            let from = x.plane(self.image, channel)[start..].as_ptr();
            let planes = PANEL.min(x.channels() - channel);
            Ahead::of(from, x.area(), planes, len).ask_for_all(simd);
        }
    }

    /// Copies `len` pixels from `start` on of the 8 channels from `lane` on to those lanes of `strip [len][16]`.
    #[inline(always)]
    fn line<S: Simd>(&self, simd: S, start: usize, len: usize, lane: usize, strip: &mut [f32]) {
        let x = self.conv.x;
        let channel = self.channel + lane;
        let mut done = 0;
        if let Some(planes) = x.neighbours(self.image, channel, 8) {
            while done + 8 <= len {
                let from = planes[start + done..start + len].as_ptr();
                let to = strip[done * PANEL + lane..len * PANEL].as_mut_ptr();
                // SAFETY: these eight pixels exist in each of the eight planes, and their columns in the strip.
                unsafe { simd.transpose8(from, x.area(), to, PANEL) };
                done += 8;
            }
        }
        for c in 0..8 {
            let strip = strip[done * PANEL..].iter_mut().skip(lane + c).step_by(PANEL);
            if channel + c < x.channels() {
                let pixels = &x.plane(self.image, channel + c)[start + done..start + len];
                strip.zip(pixels).for_each(|(to, &from)| *to = from);
            } else {
                strip.for_each(|to| *to = 0.0);
            }
        }
    }
}

/// Transforms a strip in both directions.
struct Transform<'a, F, const HALVES: bool, const D: usize, const P: usize, const N: usize> {
    strip: &'a mut [f32],
    tiles: usize,
    /// The first tile of each place: [starts](Places::starts) of so many.
    places: [[*mut f32; P]; P],
    /// Values from one tile to the next there.
    stride: usize,
    /// The transforms.
    points: F,
}

impl<F: Points<D, P, N>, const HALVES: bool, const D: usize, const P: usize, const N: usize> Kernel
    for Transform<'_, F, HALVES, D, P, N>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { strip, tiles, places, stride, points } = self;
        let line = const { pixels(SEGMENT, D) * PANEL };
        assert!(strip.len() >= P * line && tiles <= SEGMENT, "kernel bug: a short strip");
        let strip = strip.as_mut_ptr();
        for lane in (0..PANEL).step_by(S::LANES) {
            // SAFETY: columns under these tiles of the strip, whose length was checked, and as many rows of the places.
            unsafe {
                for column in 0..pixels(tiles, D) {
                    let at = strip.add(column * PANEL + lane);
                    let d = load_all(simd, at, line);
                    for (r, value) in points.input(simd, d).into_iter().enumerate() {
                        simd.store(at.add(r * line), value);
                    }
                }
                for tile in 0..tiles {
                    for (r, places) in places.iter().enumerate() {
                        let d = load_all(simd, strip.add(r * line + tile * (D - 2) * PANEL + lane), PANEL);
                        for (place, value) in places.iter().zip(points.input(simd, d)) {
                            let row = place.add(tile * stride);
                            if HALVES {
                                simd.store_bf16(row.cast::<bf16>().add(lane), value);
                            } else {
                                simd.store(row.add(lane), value);
                            }
                        }
                    }
                }
            }
        }
    }
}
