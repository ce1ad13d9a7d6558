//! Copying operands into panels.

#![expect(unsafe_code, reason = "transposes blocks of 8 by 8 through pointers")]

use crate::{
    panel::PANEL,
    simd::{Kernel, Simd, dispatch},
};

/// Up to 16 rows of `len` values, the first of `rows` on and then every `stride`, become the columns of a panel
/// `[len][16]`, the rest of which is zero.
pub(crate) fn transpose(rows: &[f32], stride: usize, count: usize, len: usize, panel: &mut [f32]) {
    dispatch(Transpose { rows, stride, count, len, panel });
}

/// Appends a row of values as row `p` of panels that are `panel_stride` apart, the last one filled up with zeros.
#[inline]
pub(crate) fn copy_row(values: &[f32], panels: &mut [f32], p: usize, panel_stride: usize) {
    let (whole, rest) = values.as_chunks::<PANEL>();
    for (panel, values) in whole.iter().enumerate() {
        let at = panel * panel_stride + p * PANEL;
        panels[at..at + PANEL].copy_from_slice(values);
    }
    if !rest.is_empty() {
        let at = whole.len() * panel_stride + p * PANEL;
        panels[at..at + rest.len()].copy_from_slice(rest);
        panels[at + rest.len()..at + PANEL].fill(0.0);
    }
}

struct Transpose<'a> {
    rows: &'a [f32],
    stride: usize,
    count: usize,
    len: usize,
    panel: &'a mut [f32],
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { rows, stride, count, len, panel } = self;
        let mut done = 0;
        if count == PANEL {
            assert!(
                rows.len() >= (PANEL - 1) * stride + len && panel.len() >= len * PANEL,
                "kernel bug: short rows"
            );
            while done + 8 <= len {
                for lane in [0, 8] {
                    // SAFETY: values up to done + 8 of 16 rows, and as many rows of the panel; both were checked.
                    unsafe {
                        let to = panel.as_mut_ptr().add(done * PANEL + lane);
                        simd.transpose8(rows.as_ptr().add(lane * stride + done), stride, to, PANEL);
                    }
                }
                done += 8;
            }
        }
        for i in done..len {
            for (row, to) in panel[i * PANEL..(i + 1) * PANEL].iter_mut().enumerate() {
                *to = if row < count { rows[row * stride + i] } else { 0.0 };
            }
        }
    }
}
