//! The numbers that V and U are multiplied in.

use std::ops::Range;

use super::{Conv, Layout, WEIGHT_DEPTH};
use crate::{
    LayerWeights,
    gemm::{Ahead, Base, EXACT_RUN, Product},
    narrow::{self, Columns, Finish, Tiles, WordRows, as_words},
    operands::{Panels, Rows, RowsMut},
    panel::PANEL,
};

/// f32, or two bf16 in the place of one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Numbers {
    F32,
    Bf16,
}

impl Numbers {
    /// Those of a convolution: bf16 if it asks for them, and its inputs are whole panels.
    pub(super) fn of(conv: &Conv<'_>) -> Self {
        let whole = conv.x.channels().is_multiple_of(PANEL);
        if whole && matches!(conv.weights, LayerWeights::Bf16(_)) { Self::Bf16 } else { Self::F32 }
    }

    pub(super) fn are_halves(self) -> bool {
        self == Self::Bf16
    }

    /// The values that some numbers take.
    pub(super) fn words(self, numbers: usize) -> usize {
        if self.are_halves() { numbers / 2 } else { numbers }
    }

    /// The numbers that some values hold.
    pub(super) fn of_words(self, words: usize) -> usize {
        if self.are_halves() { 2 * words } else { words }
    }

    /// Input channels whose weights are transformed at once, where they are used.
    pub(super) fn weight_depth(self) -> usize {
        self.of_words(WEIGHT_DEPTH)
    }

    /// A layout for `rows` rows of so many numbers.
    pub(super) fn layout(self, places: usize, rows: usize, columns: usize) -> Layout {
        match self {
            Self::F32 => Layout::new(places, rows, columns),
            Self::Bf16 => Layout::of_halves(places, rows, columns),
        }
    }

    /// `m = v · u + base` for `depth` values of each row of `v` and of each column of `u`, both with the distance of their
    /// rows or panels. The base is zero or what `m` holds.
    pub(super) fn multiply(
        self,
        depth: usize,
        (v, v_row): (&[f32], usize),
        (u, u_panel): (&[f32], usize),
        base: Base<'_>,
        m: RowsMut<'_>,
    ) {
        let (rows, panels) = (m.rows(), m.columns() / PANEL);
        match self {
            Self::F32 => Product {
                a: Rows::new(v, [rows, depth], [v_row, 1]),
                b: Panels::new(u, [panels, depth], [u_panel, PANEL]),
                c: m,
                base,
                run: EXACT_RUN,
                next: Ahead::NOTHING,
            }
            .run(),
            Self::Bf16 => {
                let tiles = |finish| Tiles {
                    rows: WordRows::new(as_words(v), [rows, depth], v_row),
                    columns: Columns::new(as_words(u), panels, (&[0], depth), PANEL, u_panel),
                    finish,
                };
                narrow::bf16(tiles(Sum { m, add: matches!(base, Base::Itself) }));
            }
        }
    }
}

/// Writes sums, or adds them.
struct Sum<'a> {
    m: RowsMut<'a>,
    add: bool,
}

impl Finish<f32> for Sum<'_> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[f32]) {
        for (row, sums) in rows.zip(sums.chunks_exact(columns.len())) {
            let to = &mut self.m.row(row)[columns.clone()];
            if self.add {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            } else {
                to.copy_from_slice(sums);
            }
        }
    }
}
