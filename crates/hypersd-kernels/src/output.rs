//! Output buffers, written once and by many threads.

#![expect(
    unsafe_code,
    reason = "marks a Vec as filled, and shares a pointer between the threads that fill it"
)]

use std::{marker::PhantomData, mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use crate::{
    operands::{RowsMut, Unwritten, reach},
    pages,
};

/// Memory that several tasks write, each its own part.
///
/// Only the pointer is shared; to take a part is `unsafe` at the place that does, where the parts are seen to be disjoint.
/// Where they are the blocks of a [`Split`], [`fill`] and [`update`] take them.
pub(crate) struct Out<'a, T = f32> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Out<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<'_, T> {}

// SAFETY: a pointer and a length; every access through the pointer needs an unsafe operation.
unsafe impl<T: Send> Send for Out<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Out<'_, T> {}

impl<'a, T> Out<'a, T> {
    /// A shared view of `values`.
    pub(crate) fn new(values: &'a mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), lifetime: PhantomData }
    }

    /// The matrix `[rows, columns]` from value `first` on, each row `stride` behind the one before.
    ///
    /// # Safety
    /// Nobody else uses its values as long as the matrix lives.
    #[inline(always)]
    pub(crate) unsafe fn rows(self, first: usize, extents: [usize; 2], stride: usize) -> RowsMut<'a, T> {
        let start = self.reach(first, reach(extents, stride));
        // SAFETY: it lies inside the buffer, which is borrowed for 'a, and the caller promises that it is his alone.
        unsafe { RowsMut::from_raw(start, extents, stride) }
    }

    /// The address of value `first`, from which on the buffer has so many; which of them are his, the caller knows.
    #[inline(always)]
    pub(crate) fn reach(self, first: usize, len: usize) -> *mut T {
        assert!(first <= self.len && len <= self.len - first, "kernel bug: {first} + {len} of {}", self.len);
        self.start.wrapping_add(first)
    }

    /// The address of value `index`, to ask for it ahead.
    #[inline(always)]
    pub(crate) fn address(self, index: usize) -> *const T {
        self.start.wrapping_add(index)
    }
}

/// The blocks of an output of some layers `[rows, columns]`, one for each task.
#[derive(Clone, Copy)]
pub(crate) struct Split {
    layers: usize,
    rows: Axis,
    columns: Axis,
}

/// The parts of one extent.
#[derive(Clone, Copy)]
pub(crate) struct Axis {
    len: usize,
    /// Values that are not split further.
    unit: usize,
    /// Their number, at least one.
    parts: usize,
}

/// The part of an output that a task writes.
pub(crate) struct Block {
    pub(crate) layer: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Axis {
    /// One part.
    pub(crate) fn whole(len: usize) -> Self {
        Self::new(len, 1, 1)
    }

    /// So many parts of nearly equally many units, the last of which may be cut short.
    pub(crate) fn new(len: usize, unit: usize, parts: usize) -> Self {
        Self { len, unit: unit.max(1), parts: parts.max(1) }
    }

    /// The parts are disjoint and cover the extent, as the shares of its units are.
    fn part(self, part: usize) -> Range<usize> {
        let units = share(self.len.div_ceil(self.unit), self.parts, part);
        (units.start * self.unit).min(self.len)..(units.end * self.unit).min(self.len)
    }
}

impl Split {
    pub(crate) fn new(layers: usize, rows: Axis, columns: Axis) -> Self {
        Self { layers, rows, columns }
    }

    /// Blocks of whole rows, as many as have about so many values.
    pub(crate) fn by_rows(rows: usize, columns: usize, values_per_task: usize) -> Self {
        let rows_per_task = (values_per_task / columns.max(1)).max(1);
        Self::new(1, Axis::new(rows, 1, rows.div_ceil(rows_per_task)), Axis::whole(columns))
    }

    /// Values of the whole output.
    fn len(&self) -> usize {
        self.layers * self.rows.len * self.columns.len
    }

    /// Runs `task` for all blocks that are not empty, those of the same columns after each other.
    fn run<T: Send>(self, out: Out<'_, T>, task: impl Fn(Block, RowsMut<'_, T>) + Send + Sync) {
        let Self { layers, rows, columns } = self;
        assert_eq!(out.len, self.len(), "kernel bug: an output of another size is split");
        parallel(layers * columns.parts * rows.parts, |index| {
            let block = Block {
                layer: index / (rows.parts * columns.parts),
                rows: rows.part(index % rows.parts),
                columns: columns.part(index / rows.parts % columns.parts),
            };
            let extents = [block.rows.len(), block.columns.len()];
            if extents.contains(&0) {
                return;
            }
            let first = (block.layer * rows.len + block.rows.start) * columns.len + block.columns.start;
            // SAFETY: no two tasks have the same layer, part of the rows and part of the columns, and parts are disjoint.
            task(block, unsafe { out.rows(first, extents, columns.len) });
        });
    }
}

/// Makes `out` hold the blocks of `split`, without setting them to zero first. Keeps its capacity.
///
/// A task gets its block unwritten and gives it back written.
pub(crate) fn fill(
    out: &mut Vec<f32>,
    split: Split,
    task: impl Fn(Block, Unwritten<'_>) -> RowsMut<'_> + Send + Sync,
) {
    let write = |out: Out<'_, MaybeUninit<f32>>| {
        split.run(out, |block, to| {
            let given = (to.as_ptr().cast(), to.rows(), to.columns(), to.stride());
            let written = task(block, to);
            let written = (written.as_ptr(), written.rows(), written.columns(), written.stride());
            assert!(written == given, "kernel bug: another block was written");
        });
    };
    // SAFETY: the blocks cover the output, and each came back as initialised values.
    unsafe { fill_shared(out, split.len(), write) };
}

/// Runs `task` for all blocks of `values`, which it may read before it writes them.
pub(crate) fn update(values: &mut [f32], split: Split, task: impl Fn(Block, RowsMut<'_>) + Send + Sync) {
    split.run(Out::new(values), task);
}

/// Does what [`fill`] does for `len` values that `write` writes in whatever parts.
///
/// # Safety
/// `write` writes every value of the buffer it is given.
pub(crate) unsafe fn fill_shared(
    out: &mut Vec<f32>,
    len: usize,
    write: impl FnOnce(Out<'_, MaybeUninit<f32>>),
) {
    out.clear();
    out.reserve_exact(len);
    pages::ask_for_huge(out.as_mut_ptr(), len);
    write(Out::new(&mut out.spare_capacity_mut()[..len]));
    // SAFETY: the capacity is there, and the caller promises that the values are written.
    unsafe { out.set_len(len) };
}

/// Runs `task` for 0..`count` on the threads of the current rayon pool, in any order.
pub(crate) fn parallel(count: usize, task: impl Fn(usize) + Send + Sync) {
    match count {
        0 => {}
        1 => task(0),
        _ => (0..count).into_par_iter().with_max_len(1).for_each(task),
    }
}

/// Runs `work` on a thread of the current rayon pool. Whoever calls many kernels saves what each of them would otherwise
/// take to hand its work to the pool and to be woken at its end.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// Splits 0..`len` into `parts` nearly equal ranges and returns the one numbered `part`.
#[inline(always)]
pub(crate) fn share(len: usize, parts: usize, part: usize) -> Range<usize> {
    let start = |part: usize| len / parts * part + (len % parts).min(part);
    start(part)..start(part + 1)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn shares_are_even_and_cover_everything() {
        for (len, parts) in [(0, 1), (1, 3), (16, 3), (20, 3), (7, 7)] {
            let shares: Vec<_> = (0..parts).map(|part| share(len, parts, part)).collect();
            assert_eq!((shares[0].start, shares[parts - 1].end), (0, len));
            assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(shares.iter().all(|share| share.len() == len / parts || share.len() == len / parts + 1));
        }
    }

    /// More parts than units, units that do not divide, and nothing at all.
    #[test]
    fn blocks_meet_every_value_once() {
        for (layers, rows, columns) in [
            (2, Axis::new(7, 3, 2), Axis::new(33, 16, 2)),
            (1, Axis::new(2, 1, 5), Axis::new(5, 16, 3)),
            (3, Axis::whole(4), Axis::new(6, 2, 3)),
            (1, Axis::new(0, 0, 0), Axis::whole(3)),
        ] {
            let split = Split::new(layers, rows, columns);
            let mut met = vec![0.0; split.len()];
            update(&mut met, split, |block, mut to| {
                assert_eq!((to.rows(), to.columns()), (block.rows.len(), block.columns.len()));
                for row in 0..to.rows() {
                    to.row(row).iter_mut().for_each(|count| *count += 1.0);
                }
            });
            assert!(met.iter().all(|&count| count == 1.0), "{met:?}");

            let mut out = Vec::new();
            let at = |block: &Block, row, column| {
                let row = block.layer * rows.len + block.rows.start + row;
                (row * columns.len + block.columns.start + column) as f32
            };
            fill(&mut out, split, |block, to| {
                to.write(|row, to| {
                    let values: Vec<_> = (0..to.len()).map(|column| at(&block, row, column)).collect();
                    to.write_copy_of_slice(&values)
                })
            });
            assert!(out.iter().enumerate().all(|(i, &value)| value == i as f32), "{out:?}");
        }
    }

    /// Written values of another place prove nothing of this one.
    #[test]
    fn a_row_that_is_not_given_back_is_an_error() {
        let split = Split::new(1, Axis::whole(1), Axis::whole(3));
        let mut out = vec![1.0; 3];
        let elsewhere = AssertUnwindSafe(|| {
            fill(&mut out, split, |_, to| to.write(|_, _| vec![0.0; 3].leak()));
        });
        assert!(catch_unwind(elsewhere).is_err());
        assert!(out.is_empty());
    }
}
