//! OFT and BOFT: rows of a weight are turned by orthogonal matrices (arXiv:2306.07280; arXiv:2311.06243), as LyCORIS trains them.
//!
//! A block `B` is turned into `Q = B − Bᵀ` and that into a rotation, `R = (I + Q)(I − Q)⁻¹` (Cayley). OFT turns each run of rows by
//! `Rᵀ`. BOFT turns by `R` in stages, between which the rows are shuffled as in a butterfly network. A rescale multiplies each row
//! afterwards.
//!
//! What a weight `m` other than 1 is: `I + m (R − I)` in the place of `R`, in each stage, as in LyCORIS and ComfyUI; and
//! `1 + m (s − 1)` in the place of a rescale `s`, which LyCORIS leaves whole, so that 0 would not be the base.

use std::borrow::Cow;

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::parts::{Factor, Parts};
use crate::{error::Error, grammar::Piece, sum::Sum};

pub(super) const PIECES: [Piece; 2] = [Piece::OftBlocks, Piece::Rescale];

/// Rotations of runs of rows, in one stage or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Oft {
    /// `[blocks, size, size]`, or `[stages, blocks, size, size]` for BOFT
    blocks: Factor,
    /// One number for each row.
    rescale: Option<Factor>,
    /// Longest that all of `Q` may be together, divided by the number of rows; none where it is 0.
    constraint: f32,
}

impl Oft {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let described = "[blocks, size, size] or [stages, blocks, size, size]";
        let blocks = parts.factor(Piece::OftBlocks, &[3, 4], described)?;
        let rescale = match parts.any(&[Piece::Rescale]) {
            true => Some(parts.factor(Piece::Rescale, &[1, 2, 4], "[out, 1, …]")?),
            false => None,
        };
        let oft = Self { constraint: parts.alpha()?.unwrap_or(0.0), blocks, rescale };
        let (size, rows) = (oft.size(), oft.rows());
        let square = oft.blocks.shape[oft.blocks.shape.len() - 2] == size;
        // The last stage shuffles the most rows with each other.
        let last = 1_usize.checked_shl((oft.stages() - 1) as u32).and_then(|k| k.checked_mul(size));
        let shuffles = !oft.is_butterfly() || (size % 2 == 0 && last.is_some_and(|last| rows % last == 0));
        let rescales =
            oft.rescale.as_ref().is_none_or(|rescale| rescale.shape.iter().product::<usize>() == rows);
        if square && shuffles && rescales {
            return Ok(oft);
        }
        let found = (&oft.blocks.shape, oft.rescale.as_ref().map(|rescale| &rescale.shape));
        let found = match found {
            (blocks, Some(rescale)) => format!("{blocks:?} with a rescale of {rescale:?}"),
            (blocks, None) => format!("{blocks:?}"),
        };
        Err(parts.wrong("square oft_blocks for one number of rows", found))
    }

    pub(super) fn is_butterfly(&self) -> bool {
        self.blocks.shape.len() == 4
    }

    fn stages(&self) -> usize {
        if self.is_butterfly() { self.blocks.shape[0] } else { 1 }
    }

    fn size(&self) -> usize {
        self.blocks.shape[self.blocks.shape.len() - 1]
    }

    /// Rows of the weight that it is made for.
    pub(super) fn rows(&self) -> usize {
        let blocks = self.blocks.shape[self.blocks.shape.len() - 3];
        blocks.saturating_mul(self.size())
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        [Some(&self.blocks), self.rescale.as_ref()]
            .into_iter()
            .flatten()
            .map(|factor| factor.name.as_str())
            .collect()
    }

    pub(super) fn apply(&self, file: &dyn TensorSource, m: f32, w: &mut Sum<'_>) -> Result<(), CoreError> {
        let blocks = self.blocks.read(file)?;
        let rotations = self.rotations(&blocks, m);
        let rescale = match &self.rescale {
            Some(rescale) => rescale.read(file)?,
            None => Cow::Borrowed(&[][..]),
        };
        let w = w.elements();
        let columns = w.len() / self.rows();
        let mut from = Vec::new();
        for (stage, rotations) in rotations.chunks(self.rows() * self.size()).enumerate() {
            from.clear();
            from.extend_from_slice(w);
            self.turn(stage, rotations, &from, w, columns);
        }
        for (row, s) in w.chunks_mut(columns).zip(rescale.iter()) {
            let s = 1.0 + m * (s - 1.0);
            row.iter_mut().for_each(|x| *x *= s);
        }
        Ok(())
    }

    /// Every block's matrix `I + m (R − I)` (for OFT `Rᵀ`), one after the other.
    fn rotations(&self, blocks: &[f32], m: f32) -> Vec<f64> {
        let size = self.size();
        let skew = |block: &[f32]| -> Vec<f64> {
            let at = |i: usize, j: usize| f64::from(block[i * size + j]);
            (0..size * size).map(|k| at(k / size, k % size) - at(k % size, k / size)).collect()
        };
        let mut all: Vec<Vec<f64>> = blocks.chunks(size * size).map(skew).collect();
        let norm = all.iter().flatten().map(|q| q * q).sum::<f64>().sqrt() + 1e-8;
        let longest = f64::from(self.constraint) * self.rows() as f64;
        if longest > 0.0 && norm > longest {
            all.iter_mut().flatten().for_each(|q| *q *= longest / norm);
        }
        let m = f64::from(m);
        let turned = all.par_iter().flat_map_iter(|q| {
            let transposed = cayley_transposed(q, size);
            let butterfly = self.is_butterfly();
            (0..size * size).map(move |k| {
                let (i, j) = (k / size, k % size);
                let r = if butterfly { transposed[j * size + i] } else { transposed[k] };
                let identity = if i == j { 1.0 } else { 0.0 };
                identity + m * (r - identity)
            })
        });
        turned.collect()
    }

    /// One stage: each row becomes a sum of the rows of its block.
    fn turn(&self, stage: usize, rotations: &[f64], from: &[f32], to: &mut [f32], columns: usize) {
        let size = self.size();
        // Rows `k` apart meet in a block: [c, 2, k] of the rows is [c, k, 2] of the places in blocks.
        let k = if self.is_butterfly() { (size / 2) << stage } else { 1 };
        let shuffled = self.is_butterfly();
        let place = |row: usize| match shuffled {
            true => row / (2 * k) * (2 * k) + row % k * 2 + row % (2 * k) / k,
            false => row,
        };
        let row = |place: usize| match shuffled {
            true => place / (2 * k) * (2 * k) + place % 2 * k + place % (2 * k) / 2,
            false => place,
        };
        to.par_chunks_mut(columns).enumerate().for_each_init(Vec::new, |sums: &mut Vec<f64>, (at, to)| {
            let at = place(at);
            let weights = &rotations[at * size..][..size];
            sums.clear();
            sums.resize(columns, 0.0);
            for (j, weight) in weights.iter().enumerate() {
                let from = &from[row(at / size * size + j) * columns..][..columns];
                sums.iter_mut().zip(from).for_each(|(sum, &x)| *sum += weight * f64::from(x));
            }
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
        });
    }
}

/// `Rᵀ = (I + Q)⁻¹ (I − Q)`, by Gauss-Jordan elimination with the largest pivot; `I + Q` has an inverse because `Q` is skew.
fn cayley_transposed(q: &[f64], size: usize) -> Vec<f64> {
    let identity = |sign: f64| move |k: usize| sign * q[k] + if k / size == k % size { 1.0 } else { 0.0 };
    let mut left: Vec<f64> = (0..size * size).map(identity(1.0)).collect();
    let mut right: Vec<f64> = (0..size * size).map(identity(-1.0)).collect();
    for column in 0..size {
        let magnitude = |row: usize| left[row * size + column].abs();
        let pivot = (column..size).max_by(|&a, &b| magnitude(a).total_cmp(&magnitude(b))).unwrap_or(column);
        for x in [&mut left, &mut right] {
            (0..size).for_each(|j| x.swap(column * size + j, pivot * size + j));
        }
        let scale = 1.0 / left[column * size + column];
        for x in [&mut left, &mut right] {
            x[column * size..][..size].iter_mut().for_each(|x| *x *= scale);
        }
        for row in (0..size).filter(|&row| row != column) {
            let factor = left[row * size + column];
            for x in [&mut left, &mut right] {
                (0..size).for_each(|j| x[row * size + j] -= factor * x[column * size + j]);
            }
        }
    }
    right
}
