//! Asking for memory before it is needed.

use crate::simd::Simd;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that will be used soon, asked for a few lines at a time while a product keeps the multipliers busy. Weights and
/// feature maps come from memory, and whoever packs or writes them would otherwise wait for each line.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// One after the other; those that are done have no rows left.
    rows: [Lines; 3],
    /// Lines to ask for at a time.
    at_a_time: usize,
}

/// Rows of cache lines.
#[derive(Clone, Copy)]
struct Lines {
    /// The current row. Never read, so it need not be valid.
    row: *const u8,
    /// Bytes from one row to the next.
    stride: usize,
    /// Rows that are left.
    left: usize,
    /// Lines per row.
    lines: usize,
    /// Lines of the current row that have been asked for.
    asked: usize,
}

impl Lines {
    const NONE: Self = Self { row: std::ptr::null(), stride: 0, left: 0, lines: 0, asked: 0 };

    /// Asks for the next line, of which there is one.
    #[inline(always)]
    fn ask<S: Simd>(&mut self, simd: S) {
        simd.prefetch_far(self.row.wrapping_add(self.asked * LINE).cast());
        self.asked += 1;
        if self.asked == self.lines {
            self.asked = 0;
            self.row = self.row.wrapping_add(self.stride);
            self.left -= 1;
        }
    }
}

impl Ahead {
    /// No memory.
    pub(crate) const NOTHING: Self = Self { rows: [Lines::NONE; 3], at_a_time: 0 };

    /// `rows` rows of `len` bytes, `stride` bytes apart.
    pub(crate) fn new(row: *const u8, stride: usize, rows: usize, len: usize) -> Self {
        let lines = (row as usize % LINE + len).div_ceil(LINE);
        let rows = Lines { row, stride, left: if len == 0 { 0 } else { rows }, lines, asked: 0 };
        Self { rows: [rows, Lines::NONE, Lines::NONE], at_a_time: 0 }
    }

    /// `rows` rows of `len` values, `stride` values apart.
    pub(crate) fn of(row: *const f32, stride: usize, rows: usize, len: usize) -> Self {
        Self::new(row.cast(), stride * size_of::<f32>(), rows, len * size_of::<f32>())
    }

    /// True if there is nothing to ask for.
    pub(crate) fn is_nothing(&self) -> bool {
        self.rows.iter().all(|rows| rows.left == 0)
    }

    /// The first rows of `other` after its own, of which there may be two kinds.
    pub(crate) fn then(self, other: Self) -> Self {
        let [first, second, _] = self.rows;
        let rows =
            if second.left == 0 { [first, other.rows[0], second] } else { [first, second, other.rows[0]] };
        Self { rows, ..self }
    }

    /// The same memory, to be asked for in so many parts.
    pub(crate) fn in_parts(self, parts: usize) -> Self {
        let lines: usize = self.rows.iter().map(|rows| rows.left * rows.lines).sum();
        Self { at_a_time: lines.div_ceil(parts.max(1)), ..self }
    }

    /// Asks for the next part.
    #[inline(always)]
    pub(crate) fn ask<S: Simd>(&mut self, simd: S) {
        let mut count = self.at_a_time;
        for rows in &mut self.rows {
            while rows.left > 0 && count > 0 {
                rows.ask(simd);
                count -= 1;
            }
        }
    }

    /// Asks for all of it at once.
    #[inline(always)]
    pub(crate) fn ask_for_all<S: Simd>(self, simd: S) {
        self.in_parts(1).ask(simd);
    }
}
