//! A matrix given as a thin product, which is what all low-rank forms have in common.

use std::{borrow::Cow, ops::Range};

use hypersd_core::{Error as CoreError, TensorSource};
use hypersd_kernels::{LinearShape, Weights, linear};

use super::parts::{Factor, Parts};
use crate::{error::Error, grammar::Piece, sum::Sum};

/// `left [out, r] · right [r, in · kh · kw]`. With a Tucker core `[r, q, kh, kw]` the kernel is in the core, and
/// `right` is `core · right [q, in]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Product {
    left: Factor,
    right: Factor,
    core: Option<Factor>,
    /// The left factor is stored `[r, out]`: so LyCORIS does it where there is a core, and kohya does not.
    transposed: bool,
}

/// Which pieces make a product.
pub(super) struct Pieces {
    pub(super) left: Piece,
    pub(super) right: Piece,
    pub(super) core: Option<Piece>,
    pub(super) transposed_with_core: bool,
}

impl Product {
    /// More than this many numbers in `core · right` are in no file that fits a model (SDXL at full rank has a
    /// third of it), and a small file could ask for all memory.
    const LARGEST: usize = 1 << 25;

    /// Checks what can be checked without the factors' values.
    pub(super) fn new(parts: &Parts<'_>, pieces: &Pieces) -> Result<Self, Error> {
        let (left_name, right_name) = (pieces.left.name(), pieces.right.name());
        let right = parts.factor(pieces.right, &[2, 4], "[rank, in] or [rank, in, kh, kw]")?;
        let left = parts.factor(pieces.left, &[2, 4], "[out, rank] or [out, rank, 1, 1]")?;
        let core = match pieces.core.filter(|core| parts.any(&[*core])) {
            Some(core) => Some(parts.factor(core, &[4], "[rank, rank, kh, kw]")?),
            None => None,
        };
        let transposed = core.is_some() && pieces.transposed_with_core;
        let rank = match &core {
            Some(core) if core.shape[1] != right.shape[0] => {
                let expected = format!("a core of shape [rank, {}, kh, kw]", right.shape[0]);
                return Err(parts.wrong(&expected, format!("{:?}", core.shape)));
            }
            Some(core) => core.shape[0],
            None => right.shape[0],
        };
        let bare = |factor: &Factor| factor.shape[2..].iter().all(|&kernel| kernel == 1);
        if left.shape[if transposed { 0 } else { 1 }] != rank || !bare(&left) {
            let shape = if transposed { format!("[{rank}, out]") } else { format!("[out, {rank}]") };
            let expected = format!("{left_name} of shape {shape} for {right_name} {:?}", right.shape);
            return Err(parts.wrong(&expected, format!("{:?}", left.shape)));
        }
        if let Some(core) = &core {
            let size = core.columns().checked_mul(right.columns()).and_then(|n| n.checked_mul(rank));
            if !bare(&right) || size.is_none_or(|size| size > Self::LARGEST) {
                let expected = format!("{right_name} of shape [rank, in] for a core {:?}", core.shape);
                return Err(parts.wrong(&expected, format!("{:?}", right.shape)));
            }
        }
        Ok(Self { left, right, core, transposed })
    }

    /// What alpha is divided by: rows of the right factor as it is stored.
    pub(super) fn rank(&self) -> usize {
        self.right.shape[0]
    }

    pub(super) fn has_core(&self) -> bool {
        self.core.is_some()
    }

    /// `[out, in]` or `[out, in, kh, kw]`.
    pub(super) fn shape(&self) -> Vec<usize> {
        let out = &self.left.shape[..2][usize::from(self.transposed)..][..1];
        match &self.core {
            Some(core) => [out, &self.right.shape[1..2], &core.shape[2..]].concat(),
            None => [out, &self.right.shape[1..]].concat(),
        }
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        [Some(&self.left), Some(&self.right), self.core.as_ref()]
            .into_iter()
            .flatten()
            .map(|factor| factor.name.as_str())
    }

    /// Both factors, the core inside the right one.
    pub(super) fn read<'a>(&self, file: &'a dyn TensorSource) -> Result<Factors<'a>, CoreError> {
        let (left, right) = (self.left.read(file)?, self.right.read(file)?);
        let shape = self.shape();
        let (out, columns) = (shape[0], shape[1..].iter().product());
        let left = if self.transposed { Cow::Owned(transpose(&left, out)) } else { left };
        let right = match &self.core {
            Some(core) => Cow::Owned(contract(core, &core.read(file)?, &right, self.right.columns())),
            None => right,
        };
        Ok(Factors { out, rank: left.len() / out, columns, left, right })
    }
}

/// The factors of a [`Product`] in memory.
pub(super) struct Factors<'a> {
    pub(super) out: usize,
    rank: usize,
    pub(super) columns: usize,
    /// `[out, rank]`
    left: Cow<'a, [f32]>,
    /// `[rank, columns]`
    right: Cow<'a, [f32]>,
}

impl Factors<'_> {
    pub(super) fn scale(&mut self, scale: f32) {
        self.left.to_mut().iter_mut().for_each(|x| *x *= scale);
    }

    /// These rows of the product, in `out`.
    pub(super) fn rows(&self, rows: Range<usize>, out: &mut Vec<f32>) {
        let shape = LinearShape { rows: rows.len(), inputs: self.rank, outputs: self.columns };
        let left = &self.left[rows.start * self.rank..rows.end * self.rank];
        linear(left, Weights::F32(&self.right), None, None, shape, out);
    }

    /// Adds `scale` times the product to a weight, and says whether all of the sum is finite.
    pub(super) fn add_to(&self, w: &mut Sum<'_>, scale: f32) -> bool {
        let shape = LinearShape { rows: self.out, inputs: self.rank, outputs: self.columns };
        w.add_product(scale, &self.left, &self.right, shape)
    }
}

/// `[r, out]` as `[out, r]`.
fn transpose(x: &[f32], out: usize) -> Vec<f32> {
    (0..out).flat_map(|o| x.iter().skip(o).step_by(out)).copied().collect()
}

/// `core [r, q, k] · right [q, in]`, contracted over q: `[r, in · k]`, the kernel's extents k last.
fn contract(core: &Factor, values: &[f32], right: &[f32], inputs: usize) -> Vec<f32> {
    let [r, q] = [core.shape[0], core.shape[1]];
    let k = core.columns() / q;
    // [r, k, q] · [q, in]
    let by_kernel: Vec<f32> = values.chunks(q * k).flat_map(|core| transpose(core, k)).collect();
    let mut product = Vec::new();
    let shape = LinearShape { rows: r * k, inputs: q, outputs: inputs };
    linear(&by_kernel, Weights::F32(right), None, None, shape, &mut product);
    // [r, k, in] as [r, in, k]
    product.chunks(k * inputs).flat_map(|row| transpose(row, inputs)).collect()
}
