//! From a file's elements to a parameter's: another float type, another order.
//!
//! Loading is bound by memory, so each element is touched once: outputs are allocated as untouched zero pages
//! and written in parallel, and conversion and transposition share one pass.

use std::{borrow::Cow, fmt::Debug};

use burn::tensor::{Element, FloatDType, TensorData};
use bytemuck::{Zeroable, allocation::zeroed_vec};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;

use crate::host::HostData;

/// The order of a tensor's elements in a parameter, in a type that weights are stored in.
pub trait Layout: Debug + Send + Sync {
    /// The elements as the parameter takes them, in F32, F16 or BF16. There are as many as its slot's shape says.
    fn arrange(&self, x: HostData<'_>, dtype: FloatDType) -> TensorData;

    /// True where the parameter takes elements that are f32 and ours as they are; if not, [`arrange`](Self::arrange) writes
    /// them elsewhere.
    fn keeps(&self, dtype: FloatDType) -> bool;
}

/// Elements follow each other as in the tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InOrder {
    /// Extents of the parameter.
    pub shape: Vec<usize>,
}

/// Rows of the tensor lie side by side, `width` of them at a time: `[rows, depth]` becomes `[rows / width, depth, width]`.
/// All rows at once give the transposed matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interleaved {
    /// Extents of the parameter.
    pub shape: Vec<usize>,
    /// Rows of the tensor: its first extent.
    pub rows: usize,
    /// The number of rows that lie side by side. If it does not divide their number, the last are fewer.
    pub width: usize,
}

impl Interleaved {
    /// A matrix of so many rows and columns becomes its transpose.
    #[must_use]
    pub fn transposed([rows, columns]: [usize; 2]) -> Self {
        Self { shape: vec![columns, rows], rows, width: rows }
    }
}

impl Layout for InOrder {
    fn arrange(&self, x: HostData<'_>, dtype: FloatDType) -> TensorData {
        arrange(x, dtype, &self.shape, None)
    }

    fn keeps(&self, dtype: FloatDType) -> bool {
        dtype == FloatDType::F32
    }
}

impl Layout for Interleaved {
    fn arrange(&self, x: HostData<'_>, dtype: FloatDType) -> TensorData {
        arrange(x, dtype, &self.shape, Some(self))
    }

    fn keeps(&self, _: FloatDType) -> bool {
        false
    }
}

/// Bytes of an element, for the types that weights are stored in.
pub(super) fn element_size(dtype: FloatDType) -> Option<usize> {
    match dtype {
        FloatDType::F32 => Some(size_of::<f32>()),
        FloatDType::F16 | FloatDType::BF16 => Some(size_of::<f16>()),
        _ => None,
    }
}

/// The elements of a tensor in another type and, if one is given, another order.
///
/// Types other than those of [`element_size`] were refused before; they would give f32.
fn arrange(x: HostData<'_>, dtype: FloatDType, shape: &[usize], order: Option<&Interleaved>) -> TensorData {
    use FloatDType::{BF16, F16};
    match (x, dtype) {
        (HostData::F16(x), F16) => same(x, shape, order),
        (HostData::BF16(x), BF16) => same(x, shape, order),
        (HostData::F32(x), F16) => other(&x, shape, order, |x, y: &mut [f16]| y.convert_from_f32_slice(x)),
        (HostData::F32(x), BF16) => other(&x, shape, order, |x, y: &mut [bf16]| y.convert_from_f32_slice(x)),
        (HostData::F16(x), BF16) => other(&x, shape, order, halves::<f16, bf16>),
        (HostData::BF16(x), F16) => other(&x, shape, order, halves::<bf16, f16>),
        (HostData::F32(x), _) => same(x, shape, order),
        (HostData::F16(x), _) => other(&x, shape, order, |x, y: &mut [f32]| x.convert_to_f32_slice(y)),
        (HostData::BF16(x), _) => other(&x, shape, order, |x, y: &mut [f32]| x.convert_to_f32_slice(y)),
    }
}

/// Elements that keep their type; those that are ours already and in order are not copied.
fn same<T: Number>(x: Cow<'_, [T]>, shape: &[usize], order: Option<&Interleaved>) -> TensorData {
    match (x, order) {
        (Cow::Owned(x), None) => TensorData::new(x, shape.to_vec()),
        (x, order) => other(&x, shape, order, copy),
    }
}

/// Elements that go through `convert`, which takes slices of equal length.
fn other<T: Number, U: Number>(
    x: &[T],
    shape: &[usize],
    order: Option<&Interleaved>,
    convert: impl Fn(&[T], &mut [U]) + Sync,
) -> TensorData {
    let y = match order {
        Some(order) => interleaved(x, order, convert),
        None => plain(x, convert),
    };
    TensorData::new(y, shape.to_vec())
}

fn plain<T: Number, U: Number>(x: &[T], convert: impl Fn(&[T], &mut [U]) + Sync) -> Vec<U> {
    const CHUNK: usize = 1 << 16;
    let mut y = zeroed_vec(x.len());
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| convert(x, y));
    y
}

/// `x` is `[rows, depth]`, the result `[rows / width, depth, width]`.
fn interleaved<T: Number, U: Number>(
    x: &[T],
    &Interleaved { rows, width, .. }: &Interleaved,
    convert: impl Fn(&[T], &mut [U]) + Sync,
) -> Vec<U> {
    let mut y = zeroed_vec(x.len());
    let depth = x.len() / rows.max(1);
    let panel = (width.max(1) * depth).max(1);
    y.par_chunks_mut(panel).zip(x.par_chunks(panel)).for_each(|(y, x)| {
        let width = x.len() / depth;
        let block = TILE * width;
        let few = SMALL.div_ceil(block); // of a narrow panel: threads share the panels
        y.par_chunks_mut(block).with_min_len(few).enumerate().for_each(|(i, y)| {
            transpose(x, [width, depth], i * TILE, &convert, y);
        });
    });
    y
}

/// Elements that are not worth a thread's while.
const SMALL: usize = 1 << 14;

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
