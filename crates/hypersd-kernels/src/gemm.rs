//! The matrix product that every heavy kernel is made of.
//!
//! `a` is read in place, row by row, each value broadcast; `b` comes in *panels* of 16 columns, usually stored as
//! `[k][16]`: a row of a panel is one cache line. A register tile of six rows and one panel (four with 16-lane
//! vectors, half a panel where there are 16 registers of 128 bits) stays in registers over a run of k ([`tile`]).

use crate::{
    operands::{Panels, Rows, RowsMut},
    output::share,
    panel::PANEL,
    simd::{Kernel, Simd, dispatch},
};

mod ahead;
mod tile;

pub(crate) use ahead::Ahead;
use tile::{ASK_EVERY, Area, ROWS};

/// The longest piece of k that is multiplied at once: the panels under a tile (8 KiB each) stay in the first-level
/// cache.
pub(crate) const DEPTH: usize = 128;

/// The longest piece for those whose sums must be more exact: the rounding error of a sum grows with the root of its
/// length, that of sums of pieces hardly at all.
pub(crate) const EXACT_RUN: usize = 32;

/// Rows of `a` that meet every panel in turn: as many as stay in the second-level cache.
const CACHED_ROWS: usize = 128;

/// The pieces of nearly equal length that `k` is multiplied in.
pub(crate) fn depth_chunks(k: usize) -> usize {
    k.div_ceil(DEPTH).max(1)
}

/// `c [m, n] = a [m, k] · b [k, n] + base`.
pub(crate) struct Product<'a> {
    pub(crate) a: Rows<'a>,
    /// Panels of n columns, the last of which may reach beyond.
    pub(crate) b: Panels<'a>,
    pub(crate) c: RowsMut<'a>,
    /// The summand.
    pub(crate) base: Base<'a>,
    /// Values of k after which a sum is added to `c` and begun anew.
    pub(crate) run: usize,
    /// Memory that this thread will read after this product.
    pub(crate) next: Ahead,
}

/// The summand of a product.
#[derive(Clone, Copy)]
pub(crate) enum Base<'a> {
    Zero,
    /// The values that `c` holds.
    Itself,
    /// A row of n values, the same for each row of `c`.
    Row(&'a [f32]),
}

impl Base<'_> {
    /// Zero for the first piece of k, the sum so far for the others.
    pub(crate) fn sum_of_pieces(piece: usize) -> Self {
        if piece == 0 { Self::Zero } else { Self::Itself }
    }
}

impl Product<'_> {
    /// Computes it on this thread.
    ///
    /// The result does not depend on how m and n are split between calls: each value of `c` is summed in the order
    /// of k.
    #[inline(always)]
    pub(crate) fn run(self) {
        let next = self.next;
        dispatch(Checked { area: Area::new(self), next });
    }
}

/// A product whose operands fit each other.
struct Checked<'a> {
    area: Area<'a>,
    next: Ahead,
}

impl Kernel for Checked<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { area, next } = self;
        // A loop that asks for nothing is a little faster.
        if S::PREFETCHES && !next.is_nothing() {
            run::<S, true>(simd, area, next);
        } else {
            run::<S, false>(simd, area, next);
        }
    }
}

/// All of a product, asking for what is needed next or not.
#[inline(always)]
fn run<S: Simd, const ASK: bool>(simd: S, area: Area<'_>, next: Ahead) {
    let blocks = area.rows().div_ceil(CACHED_ROWS);
    let tiles = area.rows().div_ceil(ROWS) * area.columns().div_ceil(S::TILE_PANELS * PANEL);
    let mut next = next.in_parts(tiles * area.depth().div_ceil(ASK_EVERY));
    for block in 0..blocks {
        let rows = share(area.rows(), blocks, block);
        cached::<S, ASK>(simd, &area.part(rows), &mut next);
    }
}

/// An area with few rows.
#[inline(always)]
fn cached<S: Simd, const ASK: bool>(simd: S, area: &Area<'_>, next: &mut Ahead) {
    let panels = area.columns().div_ceil(PANEL);
    let groups = panels.div_ceil(S::TILE_PANELS);
    for group in 0..groups {
        let columns = share(panels, groups, group);
        let column = columns.start * PANEL;
        match columns.len() * PANEL / S::LANES {
            1 if S::LANES == PANEL => area.strip::<S, 1, ASK>(simd, column, next),
            2 if S::HALF_PANELS => {
                area.strip::<S, 1, ASK>(simd, column, next);
                if column + S::LANES < area.columns() {
                    area.strip::<S, 1, ASK>(simd, column + S::LANES, next);
                }
            }
            2 => area.strip::<S, 2, ASK>(simd, column, next),
            3 if S::LANES == PANEL => area.strip::<S, 3, ASK>(simd, column, next),
            4 if S::LANES == PANEL => area.strip::<S, 4, ASK>(simd, column, next),
            vectors => unreachable!("kernel bug: a tile of {vectors} vectors"),
        }
    }
}
