//! The matrix product that every heavy kernel is made of.
//!
//! `a` is read in place, row by row, each value broadcast; `b` comes in *panels* of 16 columns, each stored as
//! `[k][16]`, so that a row of a panel is one cache line. A register tile of `Simd::ROWS` rows and one panel (two with
//! 16-lane vectors) stays in registers over the whole of k.

#![expect(
    unsafe_code,
    reason = "a register tile walks rows and panels by pointer, without a bounds check per load"
)]

use std::{hint::black_box, ops::Range};

use crate::{
    output::share,
    simd::{Kernel, Simd, dispatch},
};

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;

/// The longest piece of k that is multiplied at once: a panel of it (16 KiB), or two with wide vectors, stays in the
/// first-level cache.
const DEPTH: usize = 256;

/// Rows of `a` that meet every panel in turn: as many as stay in the second-level cache.
const CACHED_ROWS: usize = 128;

/// The pieces of nearly equal length that `k` is multiplied in.
pub(crate) fn depth_chunks(k: usize) -> usize {
    k.div_ceil(DEPTH).max(1)
}

/// `c [m, n] = a [m, k] · b [k, n]`, or `c += a · b`.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// First value of `a`, whose rows are `a_stride` apart.
    pub(crate) a: *const f32,
    pub(crate) a_stride: usize,
    /// `n / 16` panels, rounded up, `panel_stride` apart, of `[k][16]` values each.
    pub(crate) b: *const f32,
    pub(crate) panel_stride: usize,
    /// First value of `c`, whose rows are `c_stride` apart.
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    /// Whether to add to `c` or to overwrite it.
    pub(crate) accumulate: bool,
}

impl Product {
    /// Computes it on this thread.
    ///
    /// The result does not depend on how m and n are split between calls: each value of `c` is summed in the order
    /// of k.
    ///
    /// # Safety
    /// `a` is valid for reads of `m` rows of `k`, `b` of all its panels, `c` for writes of `m` rows of `n`, and for
    /// reads where `accumulate` is set. Nobody else writes to any of them or reads `c` meanwhile.
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
        let blocks = product.m.div_ceil(CACHED_ROWS);
        for block in 0..blocks {
            let rows = share(product.m, blocks, block);
            // SAFETY: `Product::run` has the caller's promise for all rows, and these are some of them.
            unsafe {
                let a = product.a.add(rows.start * product.a_stride);
                let c = product.c.add(rows.start * product.c_stride);
                cached(simd, &Product { m: rows.len(), a, c, ..product });
            }
        }
    }
}

/// A product with few rows.
///
/// # Safety
/// As [`Product::run`].
#[inline(always)]
unsafe fn cached<S: Simd>(simd: S, product: &Product) {
    let wide = 2 * S::LANES / PANEL; // panels under two vectors: 1 or 2
    let panels = product.n.div_ceil(PANEL);
    let mut panel = 0;
    while panel < panels {
        // SAFETY: the caller's promise; the columns stay below n rounded up to a panel.
        unsafe {
            if panel + wide <= panels {
                columns::<S, 2>(simd, product, panel, wide * PANEL);
                panel += wide;
            } else {
                columns::<S, 1>(simd, product, panel, PANEL);
                panel += 1;
            }
        }
    }
}

/// All rows of the `width` columns from `panel` on, `width` being N vectors.
///
/// # Safety
/// As [`Product::run`], for these columns; the last panel may reach beyond n.
#[inline(always)]
unsafe fn columns<S: Simd, const N: usize>(simd: S, product: &Product, panel: usize, width: usize) {
    let Product { m, n, a_stride, c_stride, .. } = *product;
    let column = panel * PANEL;
    let groups = m.div_ceil(S::ROWS);
    for group in 0..groups {
        // Even groups: a tail of one or two rows would not keep the multipliers busy.
        let Range { start: row, end } = share(m, groups, group);
        let rows = end - row;
        // SAFETY: the rows are below m, the columns below n, except in the last branch, which writes to `edge`.
        unsafe {
            let a = product.a.add(row * a_stride);
            let b = product.b.add(panel * product.panel_stride);
            let c = product.c.add(row * c_stride + column);
            if column + width <= n {
                tile_of::<S, N>(simd, rows, product, a, b, (c, c_stride), product.accumulate);
            } else {
                let mut edge = [0.0; 12 * 2 * PANEL];
                tile_of::<S, N>(simd, rows, product, a, b, (edge.as_mut_ptr(), width), false);
                for r in 0..rows {
                    for j in 0..n - column {
                        let to = c.add(r * c_stride + j);
                        *to =
                            if product.accumulate { *to + edge[r * width + j] } else { edge[r * width + j] };
                    }
                }
            }
        }
    }
}

/// [`tile`] for a number of rows known at run time, at most `Simd::ROWS`.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn tile_of<S: Simd, const N: usize>(
    simd: S,
    rows: usize,
    product: &Product,
    a: *const f32,
    b: *const f32,
    c: (*mut f32, usize),
    accumulate: bool,
) {
    // SAFETY: passed on.
    unsafe {
        match rows {
            1 => tile::<S, 1, N>(simd, product, a, b, c, accumulate),
            2 => tile::<S, 2, N>(simd, product, a, b, c, accumulate),
            3 => tile::<S, 3, N>(simd, product, a, b, c, accumulate),
            4 => tile::<S, 4, N>(simd, product, a, b, c, accumulate),
            5 => tile::<S, 5, N>(simd, product, a, b, c, accumulate),
            6 => tile::<S, 6, N>(simd, product, a, b, c, accumulate),
            7 if S::ROWS == 12 => tile::<S, 7, N>(simd, product, a, b, c, accumulate),
            8 if S::ROWS == 12 => tile::<S, 8, N>(simd, product, a, b, c, accumulate),
            9 if S::ROWS == 12 => tile::<S, 9, N>(simd, product, a, b, c, accumulate),
            10 if S::ROWS == 12 => tile::<S, 10, N>(simd, product, a, b, c, accumulate),
            11 if S::ROWS == 12 => tile::<S, 11, N>(simd, product, a, b, c, accumulate),
            12 if S::ROWS == 12 => tile::<S, 12, N>(simd, product, a, b, c, accumulate),
            _ => unreachable!("kernel bug: a tile of {rows} rows"),
        }
    }
}

/// The register tile: R rows of `a` times N vectors of columns, over the whole of k.
///
/// # Safety
/// `a` is valid for reads of R rows of k, `b` of the panels under N vectors, `c.0` for writes (and reads, if
/// `accumulate`) of R rows of N vectors, `c.1` apart.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const N: usize>(
    simd: S,
    product: &Product,
    a: *const f32,
    b: *const f32,
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
) {
    let Product { k, a_stride, panel_stride, .. } = *product;
    let mut sums = [[simd.splat(0.0); N]; R];
    // SAFETY: p < k, r < R, and the vectors j of a panel row lie inside the panel.
    unsafe {
        // The compiler would compute the address of each row from that of the row before, a chain of eleven additions
        // per step; not knowing how these four are related, it cannot.
        let mut at = [a; 4];
        for (i, at) in at.iter_mut().enumerate() {
            *at = black_box(a.wrapping_add(3 * i * a_stride));
        }
        let mut b = b;
        for _ in 0..k {
            step(simd, &at, a_stride, b, panel_stride, &mut sums);
            for at in &mut at {
                *at = at.wrapping_add(1);
            }
            b = b.wrapping_add(PANEL);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                let to = c.add(r * c_stride + j * S::LANES);
                let sum = if accumulate { simd.add(simd.load(to), sum) } else { sum };
                simd.store(to, sum);
            }
        }
    }
}

/// One value of k: `sums[r] += a[r] * b`.
///
/// # Safety
/// `a` points to every third of R values `a_stride` apart; they are valid for reads, and so are the N vectors at `b`.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const N: usize>(
    simd: S,
    a: &[*const f32; 4],
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
