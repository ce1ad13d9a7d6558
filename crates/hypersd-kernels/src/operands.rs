//! The operands of products and transforms: matrices whose rows lie apart in larger memory.
//!
//! A value of these types is the proof that its matrix lies inside that memory. What walks over it by pointer need only
//! stay within the extents that it was made with.

#![expect(unsafe_code, reason = "rows of one matrix are lent out while others are written")]

use std::{marker::PhantomData, mem::MaybeUninit, ops::Range, slice};

use crate::panel::PANEL;

/// Values from the first of `count` runs of `len` to the end of the last, each `stride` behind the one before.
#[inline(always)]
pub(crate) fn reach([count, len]: [usize; 2], stride: usize) -> usize {
    if count == 0 || len == 0 { 0 } else { (count - 1).saturating_mul(stride).saturating_add(len) }
}

/// A matrix to read, of which each value is met on its own.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
    step: usize,
}

impl<'a> Rows<'a> {
    /// `[rows, columns]`, value `[i, j]` being `values[i * stride + j * step]`.
    #[inline(always)]
    pub(crate) fn new(values: &'a [f32], [rows, columns]: [usize; 2], [stride, step]: [usize; 2]) -> Self {
        let needed = reach([rows, reach([columns, 1], step)], stride);
        let len = values.len();
        assert!(needed <= len, "kernel bug: {rows} rows of {columns} values reach beyond {len}");
        Self { values, rows, columns, stride, step }
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Values from one row to the next, and from one value of a row to the next.
    #[inline(always)]
    pub(crate) fn strides(&self) -> [usize; 2] {
        [self.stride, self.step]
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.values.as_ptr()
    }
}

/// A matrix to read, in panels of [`PANEL`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    values: &'a [f32],
    panels: usize,
    depth: usize,
    stride: usize,
    step: usize,
}

impl<'a> Panels<'a> {
    /// So many panels, `stride` apart, each of `depth` rows of 16 neighbouring values, `step` apart.
    #[inline(always)]
    pub(crate) fn new(values: &'a [f32], [panels, depth]: [usize; 2], [stride, step]: [usize; 2]) -> Self {
        let needed = reach([panels, reach([depth, PANEL], step)], stride);
        let len = values.len();
        assert!(needed <= len, "kernel bug: {panels} panels of {depth} rows reach beyond {len}");
        Self { values, panels, depth, stride, step }
    }

    #[inline(always)]
    pub(crate) fn panels(&self) -> usize {
        self.panels
    }

    /// Rows of each panel.
    #[inline(always)]
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Values from one panel to the next, and from one row of a panel to the next.
    #[inline(always)]
    pub(crate) fn strides(&self) -> [usize; 2] {
        [self.stride, self.step]
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.values.as_ptr()
    }
}

/// A matrix to write: rows of neighbouring values, which nobody else uses as long as it lives.
pub(crate) struct RowsMut<'a, T = f32> {
    start: *mut T,
    rows: usize,
    columns: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

/// A matrix whose values have not been written yet.
pub(crate) type Unwritten<'a> = RowsMut<'a, MaybeUninit<f32>>;

impl<'a, T> RowsMut<'a, T> {
    /// `[rows, columns]`, each row `stride` behind the one before.
    #[inline(always)]
    pub(crate) fn new(values: &'a mut [T], extents: [usize; 2], stride: usize) -> Self {
        let [rows, columns] = extents;
        let len = values.len();
        assert!(
            reach(extents, stride) <= len,
            "kernel bug: {rows} rows of {columns} values reach beyond {len}"
        );
        // SAFETY: the slice is borrowed exclusively, and as long as was just checked.
        unsafe { Self::from_raw(values.as_mut_ptr(), extents, stride) }
    }

    /// As [`new`](Self::new), of what `start` points to.
    ///
    /// # Safety
    /// As far as these rows reach, `start` points into one allocation; the values of the rows are valid for reads and
    /// writes, and nobody else uses them during `'a`.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(start: *mut T, [rows, columns]: [usize; 2], stride: usize) -> Self {
        assert!(
            rows <= 1 || columns <= stride,
            "kernel bug: rows of {columns} values, {stride} apart, overlap"
        );
        Self { start, rows, columns, stride, lifetime: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Values from one row to the next.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const T {
        self.start
    }

    #[inline(always)]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.start
    }

    /// A row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "kernel bug: row {row} of {}", self.rows);
        // SAFETY: the row exists, its values are this matrix's alone, and it is borrowed for as long as they are lent.
        unsafe { slice::from_raw_parts_mut(self.start.wrapping_add(row * self.stride), self.columns) }
    }

    /// Some of the rows.
    #[inline(always)]
    pub(crate) fn part(&mut self, rows: Range<usize>) -> RowsMut<'_, T> {
        assert!(rows.start < rows.end && rows.end <= self.rows, "kernel bug: rows {rows:?} of {}", self.rows);
        let start = self.start.wrapping_add(rows.start * self.stride);
        RowsMut { start, rows: rows.len(), columns: self.columns, stride: self.stride, lifetime: PhantomData }
    }
}

impl<'a> Unwritten<'a> {
    /// The same matrix, written row by row: `write` gets the number of each row and the row itself, and gives it back
    /// as what can only be had of written values.
    #[inline(always)]
    pub(crate) fn write(
        mut self,
        mut write: impl FnMut(usize, &mut [MaybeUninit<f32>]) -> &mut [f32],
    ) -> RowsMut<'a> {
        for index in 0..self.rows {
            let row = self.row(index);
            let given = (row.as_ptr().cast(), row.len());
            let written = write(index, row);
            assert!((written.as_ptr(), written.len()) == given, "kernel bug: another row was written");
        }
        // SAFETY: each row came back as initialised values.
        unsafe { self.assume_written() }
    }

    /// The same matrix, as initialised values.
    ///
    /// # Safety
    /// All of them have been written.
    #[inline(always)]
    pub(crate) unsafe fn assume_written(self) -> RowsMut<'a> {
        let Self { start, rows, columns, stride, lifetime: _ } = self;
        RowsMut { start: start.cast(), rows, columns, stride, lifetime: PhantomData }
    }
}
