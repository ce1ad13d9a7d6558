//! From a file's elements to Burn's: another float type, another order.
//!
//! Loading is bound by memory, so each element is touched once: outputs are allocated as untouched zero pages
//! and written in parallel, and conversion and transposition share one pass.

use std::borrow::Cow;

use burn::tensor::{Element, FloatDType, TensorData};
use bytemuck::{Zeroable, allocation::zeroed_vec};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use super::survey::Slot;
use crate::host::HostData;

/// Outputs whose weights lie side by side in a panel.
pub const PANEL: usize = 16;

/// How a tensor's elements lie in the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the same order.
    Plain,
    /// The tensor is `[out, in]`, the parameter `[in, out]`.
    Transposed,
}

/// Bytes of an element, for the types that weights are stored in.
pub(super) fn element_size(dtype: FloatDType) -> Option<usize> {
    match dtype {
        FloatDType::F32 => Some(size_of::<f32>()),
        FloatDType::F16 | FloatDType::BF16 => Some(size_of::<f16>()),
        _ => None,
    }
}

/// Whether a parameter takes elements that are f32 and ours as they are; if not, [`arrange`] writes them elsewhere.
pub(super) fn keeps(slot: &Slot, dtype: FloatDType) -> bool {
    slot.in_order() && dtype == FloatDType::F32
}

/// The elements of a tensor in the type and the order of a parameter.
///
/// Types other than those of [`element_size`] were refused before; they would give f32.
pub(super) fn arrange(x: HostData<'_>, slot: &Slot, dtype: FloatDType) -> TensorData {
    use FloatDType::{BF16, F16};
    match (x, dtype) {
        (HostData::F16(x), F16) => same(x, slot),
        (HostData::BF16(x), BF16) => same(x, slot),
        (HostData::F32(x), F16) => other(&x, slot, |x, y: &mut [f16]| y.convert_from_f32_slice(x)),
        (HostData::F32(x), BF16) => other(&x, slot, |x, y: &mut [bf16]| y.convert_from_f32_slice(x)),
        (HostData::F16(x), BF16) => other(&x, slot, halves::<f16, bf16>),
        (HostData::BF16(x), F16) => other(&x, slot, halves::<bf16, f16>),
        (HostData::F32(x), _) => same(x, slot),
        (HostData::F16(x), _) => other(&x, slot, |x, y: &mut [f32]| x.convert_to_f32_slice(y)),
        (HostData::BF16(x), _) => other(&x, slot, |x, y: &mut [f32]| x.convert_to_f32_slice(y)),
    }
}

/// Elements that keep their type; those that are ours already and in order are not copied.
fn same<T: Number>(x: Cow<'_, [T]>, slot: &Slot) -> TensorData {
    match x {
        Cow::Owned(x) if slot.in_order() => TensorData::new(x, slot.shape.clone()),
        x => other(&x, slot, copy),
    }
}

/// Elements that go through `convert`, which takes slices of equal length.
fn other<T: Number, U: Number>(x: &[T], slot: &Slot, convert: impl Fn(&[T], &mut [U]) + Sync) -> TensorData {
    let y = match (slot.layout, slot.shape.as_slice()) {
        _ if slot.panels => panels(x, slot.stored_shape()[0], convert),
        (Some(Layout::Transposed), &[columns, rows]) => transposed(x, rows, columns, convert),
        _ => plain(x, convert),
    };
    TensorData::new(y, slot.filled_shape())
}

fn plain<T: Number, U: Number>(x: &[T], convert: impl Fn(&[T], &mut [U]) + Sync) -> Vec<U> {
    const CHUNK: usize = 1 << 16;
    let mut y = zeroed_vec(x.len());
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| convert(x, y));
    y
}

/// `x` is `[rows, columns]`, the result `[columns, rows]`.
fn transposed<T: Number, U: Number>(
    x: &[T],
    rows: usize,
    columns: usize,
    convert: impl Fn(&[T], &mut [U]) + Sync,
) -> Vec<U> {
    let mut y = zeroed_vec(x.len());
    y.par_chunks_mut((TILE * rows).max(1)).enumerate().for_each(|(block, y)| {
        transpose(x, [rows, columns], block * TILE, &convert, y);
    });
    y
}

/// `x` is `[outputs, depth]`, the result `[outputs / PANEL, depth, PANEL]`.
fn panels<T: Number, U: Number>(x: &[T], outputs: usize, convert: impl Fn(&[T], &mut [U]) + Sync) -> Vec<U> {
    let mut y = zeroed_vec(x.len());
    let depth = x.len() / outputs.max(1);
    let panel = (PANEL * depth).max(1);
    y.par_chunks_mut(panel).zip(x.par_chunks(panel)).for_each(|(y, x)| {
        for (block, y) in y.chunks_mut(TILE * PANEL).enumerate() {
            transpose(x, [PANEL, depth], block * TILE, &convert, y);
        }
    });
    y
}

/// Columns that are transposed at once: a tile is read in rows of x and written in rows of y, each a cache line or more.
const TILE: usize = 32;

/// Some columns of `x [rows, columns]` from `first` on, at most [`TILE`], become the rows of `y [_, rows]`.
fn transpose<T: Number, U: Number>(
    x: &[T],
    [rows, columns]: [usize; 2],
    first: usize,
    convert: impl Fn(&[T], &mut [U]),
    y: &mut [U],
) {
    let width = y.len() / rows;
    let mut tile = [[U::zeroed(); TILE]; TILE];
    for top in (0..rows).step_by(TILE) {
        let height = TILE.min(rows - top);
        for (r, line) in tile[..height].iter_mut().enumerate() {
            convert(&x[(top + r) * columns + first..][..width], &mut line[..width]);
        }
        for (c, y) in y.chunks_exact_mut(rows).enumerate() {
            for (y, line) in y[top..][..height].iter_mut().zip(&tile) {
                *y = line[c];
            }
        }
    }
}

fn copy<T: Copy>(x: &[T], y: &mut [T]) {
    y.copy_from_slice(x);
}

/// One half type to the other, through f32 in pieces that stay in the cache.
fn halves<T, U>(x: &[T], y: &mut [U])
where
    [T]: HalfFloatSliceExt,
    [U]: HalfFloatSliceExt,
{
    const PIECE: usize = 256;
    let mut wide = [0.0; PIECE];
    for (x, y) in x.chunks(PIECE).zip(y.chunks_mut(PIECE)) {
        let wide = &mut wide[..x.len()];
        x.convert_to_f32_slice(wide);
        y.convert_from_f32_slice(wide);
    }
}

/// What weights are made of.
trait Number: Element + Zeroable + Copy + Send + Sync {}
impl Number for f32 {}
impl Number for f16 {}
impl Number for bf16 {}
