//! The operations that products of words need of an instruction set.

#![expect(unsafe_code, reason = "words are loaded through pointers")]

use std::array;

use half::bf16;

use crate::panel::PANEL;

/// Sums of the products of words, 16 columns at a time.
///
/// A value of an implementing type is the proof that this processor has the instructions.
pub(crate) trait Dot: Copy {
    /// What sums are.
    type Sum: Copy + Default;
    /// The sums of 16 columns.
    type Sums: Copy;
    /// A word of a row.
    type Row: Copy;
    /// A word of each of 16 columns.
    type Columns: Copy;
    /// Rows of a register tile.
    const ROWS: usize;
    /// Panels of 16 columns of a register tile.
    const PANELS: usize;

    fn zero(self) -> Self::Sums;
    /// # Safety
    /// `from` is valid for reads.
    unsafe fn row(self, from: *const u32) -> Self::Row;
    /// # Safety
    /// `from` is valid for reads of 16 words.
    unsafe fn columns(self, from: *const u32) -> Self::Columns;
    /// The sums plus the products of the numbers of the words.
    fn add(self, sums: Self::Sums, row: Self::Row, columns: Self::Columns) -> Self::Sums;
    /// # Safety
    /// `to` is valid for writes of 16 sums.
    unsafe fn store(self, to: *mut Self::Sum, sums: Self::Sums);
}

/// Products of bytes in plain Rust, which judge all others.
#[derive(Clone, Copy)]
pub(super) struct PortableBytes<const WEIGHT_ROWS: bool>;

impl<const WEIGHT_ROWS: bool> Dot for PortableBytes<WEIGHT_ROWS> {
    type Sum = i32;
    type Sums = [i32; PANEL];
    type Row = [i32; 4];
    type Columns = [[i32; 4]; PANEL];
    const ROWS: usize = 2;
    const PANELS: usize = 1;

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0; PANEL]
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> [i32; 4] {
        // SAFETY: the caller's promise.
        let bytes = unsafe { *from }.to_le_bytes();
        if WEIGHT_ROWS { bytes.map(|byte| byte.cast_signed().into()) } else { bytes.map(i32::from) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> Self::Columns {
        array::from_fn(|column| {
            // SAFETY: the caller's promise.
            let bytes = unsafe { *from.add(column) }.to_le_bytes();
            if WEIGHT_ROWS { bytes.map(i32::from) } else { bytes.map(|byte| byte.cast_signed().into()) }
        })
    }

    #[inline(always)]
    fn add(self, mut sums: Self::Sums, row: [i32; 4], columns: Self::Columns) -> Self::Sums {
        for (sum, column) in sums.iter_mut().zip(columns) {
            for (a, b) in row.into_iter().zip(column) {
                *sum += a * b;
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[i32; PANEL]>().write_unaligned(sums) };
    }
}

/// Products of bf16 in plain Rust.
#[derive(Clone, Copy)]
pub(super) struct PortableHalves;

/// The two bf16 of a word as f32.
#[inline(always)]
fn halves(word: u32) -> [f32; 2] {
    [word as u16, (word >> 16) as u16].map(|bits| bf16::from_bits(bits).to_f32())
}

impl Dot for PortableHalves {
    type Sum = f32;
    type Sums = [f32; PANEL];
    type Row = [f32; 2];
    type Columns = [[f32; 2]; PANEL];
    const ROWS: usize = 2;
    const PANELS: usize = 1;

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0.0; PANEL]
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u32) -> [f32; 2] {
        // SAFETY: the caller's promise.
        halves(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const u32) -> Self::Columns {
        // SAFETY: the caller's promise.
        array::from_fn(|column| halves(unsafe { *from.add(column) }))
    }

    #[inline(always)]
    fn add(self, mut sums: Self::Sums, row: [f32; 2], columns: Self::Columns) -> Self::Sums {
        for (sum, column) in sums.iter_mut().zip(columns) {
            *sum += row[0] * column[0];
            *sum += row[1] * column[1];
        }
        sums
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, sums: Self::Sums) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f32; PANEL]>().write_unaligned(sums) };
    }
}
