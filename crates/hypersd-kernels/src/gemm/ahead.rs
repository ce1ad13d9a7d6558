//! Asking for memory before it is needed.

use crate::simd::Simd;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that will be read soon: rows of cache lines, asked for a few at a time while a product keeps the multipliers
/// busy. Weights come from memory, and packing them would otherwise wait for each line.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// The current row. Never read, so it need not be valid.
    row: *const u8,
    /// Bytes from one row to the next.
    stride: usize,
    /// Rows that are left.
    rows: usize,
    /// Lines per row.
    lines: usize,
    /// Lines of the current row that have been asked for.
    asked: usize,
    /// Lines to ask for at a time.
    at_a_time: usize,
}

impl Ahead {
    /// No memory.
    pub(crate) const NOTHING: Self =
        Self { row: std::ptr::null(), stride: 0, rows: 0, lines: 0, asked: 0, at_a_time: 0 };

    /// `rows` rows of `len` bytes, `stride` bytes apart.
    pub(crate) fn new(row: *const u8, stride: usize, rows: usize, len: usize) -> Self {
        let lines = (row as usize % LINE + len).div_ceil(LINE);
        Self { row, stride, rows: if len == 0 { 0 } else { rows }, lines, ..Self::NOTHING }
    }

    /// The same memory, to be asked for in so many parts.
    pub(crate) fn in_parts(self, parts: usize) -> Self {
        Self { at_a_time: (self.rows * self.lines).div_ceil(parts.max(1)), ..self }
    }

    /// Asks for the next part.
    #[inline(always)]
    pub(crate) fn ask<S: Simd>(&mut self, simd: S) {
        for _ in 0..self.at_a_time {
            if self.rows == 0 {
                return;
            }
            simd.prefetch_far(self.row.wrapping_add(self.asked * LINE).cast());
            self.asked += 1;
            if self.asked == self.lines {
                self.asked = 0;
                self.row = self.row.wrapping_add(self.stride);
                self.rows -= 1;
            }
        }
    }
}
