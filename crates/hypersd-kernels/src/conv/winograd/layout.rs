//! The memory of the three operands V, U and M: a matrix for each place of a tile.

#![expect(unsafe_code, reason = "tasks write disjoint parts of shared scratch")]

use std::{array, marker::PhantomData};

use crate::{
    operands::{RowsMut, reach},
    output::Out,
    panel::PANEL,
    scratch::odd_lines,
};

/// The order in which the places of one of the three operands lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) places: usize,
    /// Columns of a row. Those beyond lie in a layout of their own behind this one.
    pub(super) columns: usize,
    /// Values from one row (a tile) to the next.
    pub(super) row: usize,
    /// Values from one place to the next.
    pub(super) place: usize,
    /// Values that 16 columns take.
    pub(super) panel: usize,
}

impl Layout {
    /// A layout for `rows` rows of `columns` values.
    pub(super) fn new(places: usize, rows: usize, columns: usize) -> Self {
        let row = odd_lines(columns);
        let columns = columns.next_multiple_of(PANEL);
        Self { places, columns, row, place: odd_lines(rows * row), panel: PANEL }
    }

    /// A layout for `rows` rows of `columns` bf16, an even number, two of them in the place of a value.
    pub(super) fn of_halves(places: usize, rows: usize, columns: usize) -> Self {
        Self { panel: PANEL / 2, ..Self::new(places, rows, columns / 2) }
    }

    pub(super) fn len(self) -> usize {
        self.places * self.place
    }

    /// The place of a value in memory.
    pub(super) fn at(self, place: usize, row: usize, column: usize) -> usize {
        column / self.columns * self.len() + place * self.place + row * self.row + column % self.columns
    }

    /// `rows` rows of a panel of every place from a row and a column on, each row `stride` behind the one before.
    ///
    /// # Safety
    /// Nobody else uses these values of `memory` as long as the places live.
    pub(super) unsafe fn shared(
        self,
        memory: Out<'_>,
        (row, column): (usize, usize),
        rows: usize,
        stride: usize,
    ) -> Places<'_> {
        let needed = reach([rows, self.panel], stride);
        assert!(self.places > 0 && needed <= self.place, "kernel bug: places overlap");
        let len = (self.places - 1) * self.place + needed;
        let start = memory.reach(self.at(0, row, column), len);
        Places { start, places: self.places, place: self.place, rows, stride, lifetime: PhantomData }
    }

    /// The same places as [`shared`](Self::shared)'s, of memory that is one task's own.
    pub(super) fn own(
        self,
        memory: &mut [f32],
        at: (usize, usize),
        rows: usize,
        stride: usize,
    ) -> Places<'_> {
        // SAFETY: the memory is borrowed exclusively.
        unsafe { self.shared(Out::new(memory), at, rows, stride) }
    }
}

/// Rows of a panel to write, for each place of a tile; one place ends before the next begins.
pub(super) struct Places<'a> {
    start: *mut f32,
    places: usize,
    /// Values from one place to the next.
    place: usize,
    rows: usize,
    /// Values from one row to the next.
    stride: usize,
    lifetime: PhantomData<RowsMut<'a>>,
}

impl Places<'_> {
    /// Values from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The first value of row `first` of each of the P by P places: `count` rows from there on are valid for writes, as
    /// long as `self` is borrowed.
    pub(super) fn starts<const P: usize>(&mut self, first: usize, count: usize) -> [[*mut f32; P]; P] {
        assert!(self.places == P * P, "kernel bug: another number of places");
        assert!(first + count <= self.rows, "kernel bug: {first} + {count} of {} rows", self.rows);
        let start = self.start.wrapping_add(first * self.stride);
        array::from_fn(|r| array::from_fn(|i| start.wrapping_add((r * P + i) * self.place)))
    }
}
