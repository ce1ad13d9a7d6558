//! The matrix product that every heavy kernel is made of.
//!
//! `a` is read in place, row by row, each value broadcast; `b` comes in *panels* of 16 columns, usually stored as
//! `[k][16]`: a row of a panel is one cache line. A register tile of six rows and one panel (four with 16-lane
//! vectors) stays in registers over a run of k.

#![expect(
    unsafe_code,
    reason = "a register tile walks rows and panels by pointer, without a bounds check per load"
)]

use std::hint::black_box;

use crate::{
    output::share,
    simd::{Kernel, Simd, dispatch},
};

mod ahead;

pub(crate) use ahead::Ahead;

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Rows of a register tile.
const ROWS: usize = 6;

/// The longest piece of k that is multiplied at once: the panels under a tile (8 KiB each) stay in the first-level
/// cache.
pub(crate) const DEPTH: usize = 128;

/// The longest piece for those whose sums must be more exact: the rounding error of a sum grows with the root of its
/// length, that of sums of pieces hardly at all.
pub(crate) const EXACT_RUN: usize = 32;

/// Values of k between two times that a tile asks for what is needed next: a few lines at a time, for all of a tile's at
/// once would fill the processor's queue of pending lines and stop it.
const ASK_EVERY: usize = 32;

/// Rows of `a` that meet every panel in turn: as many as stay in the second-level cache.
const CACHED_ROWS: usize = 128;

/// The pieces of nearly equal length that `k` is multiplied in.
pub(crate) fn depth_chunks(k: usize) -> usize {
    k.div_ceil(DEPTH).max(1)
}

/// `c [m, n] = a [m, k] · b [k, n] + base`.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// First value of `a`, whose rows are `a_stride` apart, and the values of a row `a_step`.
    pub(crate) a: *const f32,
    pub(crate) a_stride: usize,
    pub(crate) a_step: usize,
    /// `n / 16` panels, rounded up, `panel_stride` apart, of k rows of 16 values each, `b_step` apart.
    pub(crate) b: *const f32,
    pub(crate) panel_stride: usize,
    pub(crate) b_step: usize,
    /// First value of `c`, whose rows are `c_stride` apart.
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    /// What the product is added to.
    pub(crate) base: Base,
    /// After how many values of k a sum is added to `c` and begun anew.
    pub(crate) run: usize,
    /// What this thread will read after this product.
    pub(crate) next: Ahead,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    Zero,
    /// What `c` holds.
    Itself,
    /// A row of n values, the same for each row of `c`.
    Row(*const f32),
}

impl Base {
    /// Zero for the first piece of k, the sum so far for the others.
    pub(crate) fn sum_of_pieces(piece: usize) -> Self {
        if piece == 0 { Self::Zero } else { Self::Itself }
    }

    /// The base of the columns from `column` on.
    #[inline(always)]
    fn at(self, column: usize) -> Self {
        match self {
            Self::Row(row) => Self::Row(row.wrapping_add(column)),
            other => other,
        }
    }
}

impl Product {
    /// Computes it on this thread.
    ///
    /// The result does not depend on how m and n are split between calls: each value of `c` is summed in the order
    /// of k.
    ///
    /// # Safety
    /// `a` is valid for reads of `m` rows of `k`, `b` of all its panels, `c` for writes of `m` rows of `n`, and for
    /// reads where `base` is `c` itself; a row for reads of n values. Nobody else writes to any of them or
    /// reads `c` meanwhile.
    pub(crate) unsafe fn run(self) {
        dispatch(Trusted(self));
    }
}

/// A product whose pointers the caller has vouched for.
struct Trusted(Product);

impl Kernel for Trusted {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let product = self.0;
        // SAFETY: the promise of `Product::run`.
        unsafe {
            // A loop that asks for nothing is a little faster.
            if product.next.is_nothing() {
                run::<S, false>(simd, product)
            } else {
                run::<S, true>(simd, product)
            }
        }
    }
}

/// [`Product::run`], asking for what is needed next or not.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn run<S: Simd, const ASK: bool>(simd: S, product: Product) {
    let blocks = product.m.div_ceil(CACHED_ROWS);
    let tiles = product.m.div_ceil(ROWS) * product.n.div_ceil(S::TILE_PANELS * PANEL);
    let mut next = product.next.in_parts(tiles * product.k.div_ceil(ASK_EVERY));
    for block in 0..blocks {
        let rows = share(product.m, blocks, block);
        // SAFETY: the caller's promise is for all rows, and these are some of them.
        unsafe {
            let a = product.a.add(rows.start * product.a_stride);
            let c = product.c.add(rows.start * product.c_stride);
            cached::<S, ASK>(simd, &Product { m: rows.len(), a, c, ..product }, &mut next);
        }
    }
}

/// A product with few rows.
///
/// # Safety
/// As [`Product::run`].
#[inline(always)]
unsafe fn cached<S: Simd, const ASK: bool>(simd: S, product: &Product, next: &mut Ahead) {
    let panels = product.n.div_ceil(PANEL);
    let groups = panels.div_ceil(S::TILE_PANELS);
    for group in 0..groups {
        let columns = share(panels, groups, group);
        // SAFETY: the caller's promise; the columns stay below n rounded up to a panel.
        unsafe {
            match columns.len() * PANEL / S::LANES {
                1 if S::LANES == PANEL => strip::<S, 1, ASK>(simd, product, columns.start, next),
                2 => strip::<S, 2, ASK>(simd, product, columns.start, next),
                3 if S::LANES == PANEL => strip::<S, 3, ASK>(simd, product, columns.start, next),
                4 if S::LANES == PANEL => strip::<S, 4, ASK>(simd, product, columns.start, next),
                vectors => unreachable!("kernel bug: a tile of {vectors} vectors"),
            }
        }
    }
}

/// All rows of the N vectors of columns from `panel` on.
///
/// # Safety
/// As [`Product::run`], for these columns; the last panel may reach beyond n.
#[inline(always)]
unsafe fn strip<S: Simd, const N: usize, const ASK: bool>(
    simd: S,
    product: &Product,
    panel: usize,
    next: &mut Ahead,
) {
    let Product { m, n, a_stride, c_stride, .. } = *product;
    let (column, width) = (panel * PANEL, N * S::LANES);
    let groups = m.div_ceil(ROWS);
    for group in 0..groups {
        // Even groups: a tail of one or two rows would not keep the multipliers busy.
        let rows = share(m, groups, group);
        // SAFETY: the rows are below m and the columns below n, or the sums go to another place first.
        unsafe {
            let part = Product {
                m: rows.len(),
                n: n - column,
                a: product.a.add(rows.start * a_stride),
                b: product.b.add(panel * product.panel_stride),
                c: product.c.add(rows.start * c_stride + column),
                base: product.base.at(column),
                ..*product
            };
            if part.n >= width {
                tile_of::<S, N, ASK>(simd, &part, next);
            } else {
                edge_tile::<S, N, ASK>(simd, &part, next);
            }
        }
    }
}

/// [`tile_of`] where there are fewer columns than N vectors have.
///
/// # Safety
/// As [`Product::run`]; the last panel may reach beyond n.
#[inline(always)]
unsafe fn edge_tile<S: Simd, const N: usize, const ASK: bool>(simd: S, product: &Product, next: &mut Ahead) {
    let width = N * S::LANES;
    let mut sums = [0.0; ROWS * 4 * PANEL];
    // SAFETY: the sums have room for all rows and vectors; the rest is the caller's promise.
    unsafe {
        let whole = Product { c: sums.as_mut_ptr(), c_stride: width, base: Base::Zero, ..*product };
        tile_of::<S, N, ASK>(simd, &whole, next);
        for (r, sums) in sums.chunks_exact(width).take(product.m).enumerate() {
            add_edge(&sums[..product.n], product.c.add(r * product.c_stride), product.base);
        }
    }
}

/// Writes the sums of a row to `c`, value by value.
///
/// # Safety
/// `c` and what `base` points to are valid for as many values.
#[inline(always)]
unsafe fn add_edge(sums: &[f32], c: *mut f32, base: Base) {
    for (j, sum) in sums.iter().enumerate() {
        // SAFETY: j is below their number.
        unsafe {
            let base = match base {
                Base::Zero => 0.0,
                Base::Itself => *c.add(j),
                Base::Row(row) => *row.add(j),
            };
            *c.add(j) = base + sum;
        }
    }
}

/// [`tile`] for all rows, of which there are at most [`ROWS`].
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_of<S: Simd, const N: usize, const ASK: bool>(simd: S, product: &Product, next: &mut Ahead) {
    // SAFETY: passed on.
    unsafe {
        match product.m {
            1 => tile::<S, 1, N, ASK>(simd, product, next),
            2 => tile::<S, 2, N, ASK>(simd, product, next),
            3 => tile::<S, 3, N, ASK>(simd, product, next),
            4 => tile::<S, 4, N, ASK>(simd, product, next),
            5 => tile::<S, 5, N, ASK>(simd, product, next),
            6 => tile::<S, 6, N, ASK>(simd, product, next),
            rows => unreachable!("kernel bug: a tile of {rows} rows"),
        }
    }
}

/// The register tile: R rows of `a` times N vectors of columns, over the whole of k.
///
/// # Safety
/// `a` is valid for reads of R rows, `b` of the panels under N vectors, `c` for writes (and reads, if it is the base) of R
/// rows of N vectors, and so is a row for reads of N vectors.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const N: usize, const ASK: bool>(
    simd: S,
    product: &Product,
    next: &mut Ahead,
) {
    let Product { k, a, a_stride, a_step, panel_stride, b_step, c, c_stride, run: longest, .. } = *product;
    // The compiler would compute the address of each row from that of the row before, a chain of additions per step;
    // not knowing how these two are related, it cannot.
    let mut at = [a, black_box(a.wrapping_add(3 * a_stride))];
    let (mut b, mut left) = (product.b, k);
    // SAFETY: a run ends at k at the latest, r < R, and the vectors j of a panel row lie inside the panel.
    unsafe {
        let mut add = start::<S, R, N>(simd, (c, c_stride), product.base);
        loop {
            let mut sums = [[simd.splat(0.0); N]; R];
            let end = left - left.min(longest);
            while left > end {
                let piece = if ASK { (left - end).min(ASK_EVERY) } else { left - end };
                if ASK {
                    next.ask(simd);
                }
                for _ in 0..piece {
                    step(simd, at, a_stride, b, panel_stride, &mut sums);
                    at = at.map(|at| at.wrapping_add(a_step));
                    b = b.wrapping_add(b_step);
                }
                left -= piece;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (j, &sum) in sums.iter().enumerate() {
                    let to = c.add(r * c_stride + j * S::LANES);
                    simd.store(to, if add { simd.add(simd.load(to), sum) } else { sum });
                }
            }
            if left == 0 {
                break;
            }
            add = true;
        }
    }
}

/// Puts `base` into R rows of N vectors of `c`, if it is a row, and returns whether the sums are to be added to `c`.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn start<S: Simd, const R: usize, const N: usize>(
    simd: S,
    (c, c_stride): (*mut f32, usize),
    base: Base,
) -> bool {
    for r in 0..R {
        for j in 0..N {
            let (column, at) = (j * S::LANES, r * c_stride + j * S::LANES);
            if let Base::Row(row) = base {
                // SAFETY: the caller's promise.
                unsafe { simd.store(c.add(at), simd.load(row.add(column))) };
            } else {
                // It is needed when the sums are there; by then it has come.
                simd.prefetch(c.wrapping_add(at));
            }
        }
    }
    !matches!(base, Base::Zero)
}

/// One value of k: `sums[r] += a[r] * b`.
///
/// # Safety
/// `a` points to every third of R values `a_stride` apart; they are valid for reads, and so are the N vectors at `b`.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const N: usize>(
    simd: S,
    a: [*const f32; 2],
    a_stride: usize,
    b: *const f32,
    panel_stride: usize,
    sums: &mut [[S::V; N]; R],
) {
    let mut columns = [simd.splat(0.0); N];
    // SAFETY: the caller's promise.
    unsafe {
        for (j, column) in columns.iter_mut().enumerate() {
            let lane = j * S::LANES;
            *column = simd.load(b.add(lane / PANEL * panel_stride + lane % PANEL));
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let value = simd.splat(*a[r / 3].add(r % 3 * a_stride));
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = simd.mul_add(value, column, *sum);
            }
        }
    }
}
