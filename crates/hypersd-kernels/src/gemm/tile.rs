//! The innermost loops of the product: a tile of sums in registers.

#![expect(
    unsafe_code,
    reason = "a register tile walks rows and panels by pointer, without a bounds check per load"
)]

use std::{hint::black_box, marker::PhantomData, ops::Range};

use super::{Ahead, Base, Product};
use crate::{output::share, panel::PANEL, simd::Simd};

/// Rows of a register tile.
pub(super) const ROWS: usize = 6;

/// Values of k between two times that a tile asks for what is needed next: a few lines at a time, for all of a tile's at
/// once would fill the processor's queue of pending lines and stop it.
pub(super) const ASK_EVERY: usize = 32;

/// Rows and columns of a product, as pointers. Throughout, `a` is valid for reads of `m` rows of `k`, `b` of k rows of the
/// panels under n columns, `c` for reads and writes of `m` rows of `n`, and a base for reads of n; nobody else uses `c`.
#[derive(Clone, Copy)]
pub(super) struct Area<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: *const f32,
    a_stride: usize,
    a_step: usize,
    b: *const f32,
    panel_stride: usize,
    b_step: usize,
    c: *mut f32,
    c_stride: usize,
    base: Start,
    run: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

/// [`Base`], as pointer.
#[derive(Clone, Copy)]
enum Start {
    Zero,
    Itself,
    Row(*const f32),
}

impl Start {
    /// The summand of the columns from `column` on.
    #[inline(always)]
    fn at(self, column: usize) -> Self {
        match self {
            Self::Row(row) => Self::Row(row.wrapping_add(column)),
            other => other,
        }
    }
}

impl<'a> Area<'a> {
    /// The whole of a product.
    #[inline(always)]
    pub(super) fn new(product: Product<'a>) -> Self {
        let Product { a, b, mut c, base, run, .. } = product;
        let (m, n, k) = (c.rows(), c.columns(), a.columns());
        assert!(
            a.rows() == m && b.depth() == k && b.panels() >= n.div_ceil(PANEL) && run > 0,
            "kernel bug: the operands of a product do not fit"
        );
        let base = match base {
            Base::Zero => Start::Zero,
            Base::Itself => Start::Itself,
            Base::Row(row) => {
                assert!(row.len() >= n, "kernel bug: a short row");
                Start::Row(row.as_ptr())
            }
        };
        let ([a_stride, a_step], [panel_stride, b_step]) = (a.strides(), b.strides());
        Self {
            m,
            n,
            k,
            a: a.as_ptr(),
            a_stride,
            a_step,
            b: b.as_ptr(),
            panel_stride,
            b_step,
            c: c.as_mut_ptr(),
            c_stride: c.stride(),
            base,
            run,
            lifetime: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.m
    }

    #[inline(always)]
    pub(super) fn columns(&self) -> usize {
        self.n
    }

    #[inline(always)]
    pub(super) fn depth(&self) -> usize {
        self.k
    }

    /// Some of the rows.
    #[inline(always)]
    pub(super) fn part(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.m, "kernel bug: rows {rows:?} of {}", self.m);
        let a = self.a.wrapping_add(rows.start * self.a_stride);
        let c = self.c.wrapping_add(rows.start * self.c_stride);
        Self { m: rows.len(), a, c, ..*self }
    }

    /// Computes all rows of the N vectors of columns from `column` on, a vector's first in its panel. The last may reach
    /// beyond n, but inside its panel.
    #[inline(always)]
    pub(super) fn strip<S: Simd, const N: usize, const ASK: bool>(
        &self,
        simd: S,
        column: usize,
        next: &mut Ahead,
    ) {
        let Self { m, n, a_stride, c_stride, .. } = *self;
        let (panel, lane, width) = (column / PANEL, column % PANEL, N * S::LANES);
        assert!(
            column < n && column + width <= n.next_multiple_of(PANEL) && (lane == 0 || lane + width <= PANEL),
            "kernel bug: {width} columns from {column} on of {n}"
        );
        let groups = m.div_ceil(ROWS);
        for group in 0..groups {
            // Even groups: a tail of one or two rows would not keep the multipliers busy.
            let rows = share(m, groups, group);
            // SAFETY: the rows are below m; the columns, below n rounded up to a panel, were checked, and where they are
            // not below n the sums go to another place first.
            unsafe {
                let part = Self {
                    m: rows.len(),
                    n: n - column,
                    a: self.a.wrapping_add(rows.start * a_stride),
                    b: self.b.wrapping_add(panel * self.panel_stride + lane),
                    c: self.c.wrapping_add(rows.start * c_stride + column),
                    base: self.base.at(column),
                    ..*self
                };
                if part.n >= width {
                    tile_of::<S, N, ASK>(simd, &part, next);
                } else {
                    edge_tile::<S, N, ASK>(simd, &part, next);
                }
            }
        }
    }
}

/// [`tile_of`] where there are fewer columns than N vectors have.
///
/// # Safety
/// As [`tile`]; the last panel may reach beyond n.
#[inline(always)]
unsafe fn edge_tile<S: Simd, const N: usize, const ASK: bool>(simd: S, area: &Area<'_>, next: &mut Ahead) {
    let width = N * S::LANES;
    let mut sums = [0.0; ROWS * 4 * PANEL];
    // SAFETY: the sums have room for all rows and vectors; the rest is the caller's promise.
    unsafe {
        let whole = Area { c: sums.as_mut_ptr(), c_stride: width, base: Start::Zero, ..*area };
        tile_of::<S, N, ASK>(simd, &whole, next);
        for (r, sums) in sums.chunks_exact(width).take(area.m).enumerate() {
            add_edge(&sums[..area.n], area.c.add(r * area.c_stride), area.base);
        }
    }
}

/// Writes the sums of a row to `c`, value by value.
///
/// # Safety
/// `c` and what `base` points to are valid for as many values.
#[inline(always)]
unsafe fn add_edge(sums: &[f32], c: *mut f32, base: Start) {
    for (j, sum) in sums.iter().enumerate() {
        // SAFETY: j is below their number.
        unsafe {
            let base = match base {
                Start::Zero => 0.0,
                Start::Itself => *c.add(j),
                Start::Row(row) => *row.add(j),
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
unsafe fn tile_of<S: Simd, const N: usize, const ASK: bool>(simd: S, area: &Area<'_>, next: &mut Ahead) {
    // SAFETY: passed on.
    unsafe {
        match area.m {
            1 => tile::<S, 1, N, ASK>(simd, area, next),
            2 => tile::<S, 2, N, ASK>(simd, area, next),
            3 => tile::<S, 3, N, ASK>(simd, area, next),
            4 => tile::<S, 4, N, ASK>(simd, area, next),
            5 => tile::<S, 5, N, ASK>(simd, area, next),
            6 => tile::<S, 6, N, ASK>(simd, area, next),
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
    area: &Area<'_>,
    next: &mut Ahead,
) {
    let Area { k, a, a_stride, a_step, panel_stride, b_step, c, c_stride, run: longest, .. } = *area;
    // The compiler would compute the address of each row from that of the row before, a chain of additions per step;
    // not knowing how these two are related, it cannot.
    let mut at = [a, black_box(a.wrapping_add(3 * a_stride))];
    let (mut b, mut left) = (area.b, k);
    // SAFETY: a run ends at k at the latest, r < R, and the vectors j of a panel row lie inside the panel.
    unsafe {
        let mut add = start::<S, R, N>(simd, (c, c_stride), area.base);
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
    base: Start,
) -> bool {
    for r in 0..R {
        for j in 0..N {
            let (column, at) = (j * S::LANES, r * c_stride + j * S::LANES);
            if let Start::Row(row) = base {
                // SAFETY: the caller's promise.
                unsafe { simd.store(c.add(at), simd.load(row.add(column))) };
            } else {
                // It is needed when the sums are there; by then it has come.
                simd.prefetch(c.wrapping_add(at));
            }
        }
    }
    !matches!(base, Start::Zero)
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
