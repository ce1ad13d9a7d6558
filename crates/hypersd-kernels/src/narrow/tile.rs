//! The innermost loops: a tile of sums in registers.

#![expect(
    unsafe_code,
    reason = "a register tile walks its operands by pointer, without a bounds check per load"
)]

use std::ops::Range;

use super::{Dot, NarrowKernel};
use crate::panel::PANEL;

/// Rows of words to read.
#[derive(Clone, Copy)]
pub(crate) struct WordRows<'a> {
    words: &'a [u32],
    rows: usize,
    depth: usize,
    stride: usize,
}

impl<'a> WordRows<'a> {
    /// So many rows of `depth` words, each `stride` behind the one before.
    pub(crate) fn new(words: &'a [u32], [rows, depth]: [usize; 2], stride: usize) -> Self {
        assert!(rows == 0 || (rows - 1) * stride + depth <= words.len(), "kernel bug: short rows of words");
        Self { words, rows, depth, stride }
    }
}

/// Panels of 16 columns to read: for each word of a row, 16 words that are neighbours.
///
/// The words of a row come in as many equal parts as there are offsets. The words of part `t` begin at `offsets[t]` of a
/// panel and are `step` apart; panels are `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    words: &'a [u32],
    panels: usize,
    offsets: &'a [usize],
    part: usize,
    step: usize,
    stride: usize,
}

impl<'a> Columns<'a> {
    pub(crate) fn new(
        words: &'a [u32],
        panels: usize,
        (offsets, part): (&'a [usize], usize),
        step: usize,
        stride: usize,
    ) -> Self {
        let furthest = offsets.iter().max().copied().unwrap_or(0);
        let reach = furthest + part.saturating_sub(1) * step + panels.saturating_sub(1) * stride + PANEL;
        let empty = panels == 0 || part == 0 || offsets.is_empty();
        assert!(empty || reach <= words.len(), "kernel bug: short columns of words");
        Self { words, panels, offsets, part, step, stride }
    }
}

/// What becomes of sums.
pub(crate) trait Finish<T> {
    /// Takes the sums of some neighbouring rows and columns, row by row; columns may be beyond the last, inside its panel.
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[T]);
}

/// The sums of all rows and columns, each for the whole depth.
pub(crate) struct Tiles<'a, F> {
    pub(crate) rows: WordRows<'a>,
    pub(crate) columns: Columns<'a>,
    pub(crate) finish: F,
}

/// The most sums of a tile.
const MOST: usize = 6 * 4 * PANEL;

impl<T: Copy + Default, F: Finish<T>> NarrowKernel<T> for Tiles<'_, F> {
    #[inline(always)]
    fn run<D: Dot<Sum = T>>(mut self, dot: D) {
        let (rows, panels) = (self.rows.rows, self.columns.panels);
        let mut sums = [T::default(); MOST];
        for (panel, width) in pieces(panels, D::PANELS) {
            for (row, height) in pieces(rows, D::ROWS) {
                let part = Part { rows: self.rows, columns: self.columns, row, panel };
                match (height, width) {
                    (6, 4) if D::PANELS == 4 => part.tile::<D, 6, 4>(dot, &mut sums),
                    (4, 4) if D::PANELS == 4 => part.tile::<D, 4, 4>(dot, &mut sums),
                    (2, 4) if D::PANELS == 4 => part.tile::<D, 2, 4>(dot, &mut sums),
                    (1, 4) if D::PANELS == 4 => part.tile::<D, 1, 4>(dot, &mut sums),
                    (6, 2) if D::PANELS == 4 => part.tile::<D, 6, 2>(dot, &mut sums),
                    (4, 2) if D::PANELS == 4 => part.tile::<D, 4, 2>(dot, &mut sums),
                    (2, 2) if D::PANELS == 4 => part.tile::<D, 2, 2>(dot, &mut sums),
                    (1, 2) if D::PANELS == 4 => part.tile::<D, 1, 2>(dot, &mut sums),
                    (6, 1) if D::ROWS == 6 => part.tile::<D, 6, 1>(dot, &mut sums),
                    (4, 1) if D::ROWS == 6 => part.tile::<D, 4, 1>(dot, &mut sums),
                    (2, 1) => part.tile::<D, 2, 1>(dot, &mut sums),
                    (1, 1) => part.tile::<D, 1, 1>(dot, &mut sums),
                    other => unreachable!("kernel bug: a tile of {other:?}"),
                }
                let columns = panel * PANEL..(panel + width) * PANEL;
                self.finish.finish(row..row + height, columns, &sums[..height * width * PANEL]);
            }
        }
    }
}

/// Pieces of 0..`len`, by their starts and lengths: as many as fit of `most`, and what is left of 4, 2 and 1.
#[inline(always)]
fn pieces(len: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = len - start;
        let piece = match left {
            0 => return None,
            left if left >= most => most,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        start += piece;
        Some((start - piece, piece))
    })
}

/// The operands of a tile, which begins at a row and a panel.
struct Part<'a> {
    rows: WordRows<'a>,
    columns: Columns<'a>,
    row: usize,
    panel: usize,
}

impl Part<'_> {
    /// The register tile: R rows and P panels, of which the sums are written row by row.
    #[inline(always)]
    fn tile<D: Dot, const R: usize, const P: usize>(self, dot: D, stored: &mut [D::Sum; MOST]) {
        let Self { rows, columns, row, panel } = self;
        assert!(
            row + R <= rows.rows
                && panel + P <= columns.panels
                && columns.part * columns.offsets.len() == rows.depth,
            "kernel bug: operands of words do not fit"
        );
        let mut sums = [[dot.zero(); P]; R];
        let start = rows.words.as_ptr().wrapping_add(row * rows.stride);
        // The two threes of rows by pointers of their own, or each address would be computed from the one before.
        let mut at = [start, std::hint::black_box(start.wrapping_add(3 * rows.stride))];
        for &offset in columns.offsets {
            let mut b = columns.words.as_ptr().wrapping_add(panel * columns.stride + offset);
            for _ in 0..columns.part {
                // SAFETY: rows, panels and parts are inside what was checked when the operands were made.
                unsafe {
                    let mut vectors = [dot.columns(b); P];
                    for (j, vector) in vectors.iter_mut().enumerate().skip(1) {
                        *vector = dot.columns(b.add(j * columns.stride));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let word = dot.row(at[r / 3].add(r % 3 * rows.stride));
                        for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                            *sum = dot.add(*sum, word, vector);
                        }
                    }
                }
                at = at.map(|at| at.wrapping_add(1));
                b = b.wrapping_add(columns.step);
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                // SAFETY: there is room for R · P panels.
                unsafe { dot.store(stored.as_mut_ptr().add((r * P + j) * PANEL), sum) };
            }
        }
    }
}
