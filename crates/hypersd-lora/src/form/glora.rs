//! GLoRA: a change that is in part a product with the weight itself (arXiv:2306.07967), as LyCORIS trains it.

use hypersd_core::{Error as CoreError, TensorSource};
use hypersd_kernels::{LinearShape, Weights, linear};
use rayon::prelude::*;

use super::{
    parts::{Factor, Parts},
    product::{Pieces, Product},
    scale::Scale,
};
use crate::{error::Error, grammar::Piece, sum::Sum};

pub(super) const PIECES: [Piece; 5] =
    [Piece::GLoraA1, Piece::GLoraA2, Piece::GLoraB1, Piece::GLoraB2, Piece::GLoraBm];

/// `ΔW = alpha / rank · (W · a₁ · a₂ + b₁ · b₂)`, with `a₁ [in, rank]` and `a₂ [rank, in]`, for every position of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct GLora {
    a: [Factor; 2],
    b: Product,
    pub(super) scale: Scale,
}

impl GLora {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let pieces = Pieces {
            left: Piece::GLoraB1,
            right: Piece::GLoraB2,
            core: Some(Piece::GLoraBm),
            transposed_with_core: false,
        };
        let b = Product::new(parts, &pieces)?;
        let a1 = parts.factor(Piece::GLoraA1, &[2, 4], "[in, rank]")?;
        let a2 = parts.factor(Piece::GLoraA2, &[2, 4], "[rank, in]")?;
        let inputs = b.shape()[1];
        let rank = a2.shape[0];
        let bare = |factor: &Factor| factor.shape[2..].iter().all(|&kernel| kernel == 1);
        if a1.shape[..2] != [inputs, rank] || a2.shape[..2] != [rank, inputs] || !bare(&a1) || !bare(&a2) {
            let expected = format!("a1 of shape [{inputs}, rank] and a2 of [rank, {inputs}]");
            return Err(parts.wrong(&expected, format!("{:?} and {:?}", a1.shape, a2.shape)));
        }
        Ok(Self { scale: parts.scale(rank)?, a: [a1, a2], b })
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.b.shape()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        self.a.iter().map(|factor| factor.name.as_str()).chain(self.b.tensors()).collect()
    }

    /// Adds `m` times the change, and says whether all of the sum is finite.
    pub(super) fn apply(&self, file: &dyn TensorSource, m: f32, w: &mut Sum<'_>) -> Result<bool, CoreError> {
        let scale = (f64::from(m) * self.scale.factor()) as f32;
        let shape = self.shape();
        let (out, inputs) = (shape[0], shape[1]);
        let kernel: usize = shape[2..].iter().product();
        let [a1, a2] = [self.a[0].read(file)?, self.a[1].read(file)?];
        let rank = self.a[1].shape[0];
        // [out, in, k] as [out · k, in]
        let before = turned(&w.before(), inputs, kernel);
        let mut thin = Vec::new();
        let first = LinearShape { rows: out * kernel, inputs, outputs: rank };
        linear(&before, Weights::F32(&a1), None, None, first, &mut thin);
        let mut change = Vec::new();
        let second = LinearShape { rows: out * kernel, inputs: rank, outputs: inputs };
        linear(&thin, Weights::F32(&a2), None, None, second, &mut change);
        let change = turned(&change, kernel, inputs);
        w.elements().par_iter_mut().zip(change.par_iter()).for_each(|(w, change)| *w += scale * change);
        Ok(self.b.read(file)?.add_to(w, scale))
    }
}

/// Runs of `[rows, columns]`, each as `[columns, rows]`.
fn turned(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    if rows == 1 || columns == 1 {
        return x.to_vec();
    }
    let run = rows * columns;
    (0..x.len()).map(|i| x[i / run * run + i % rows * columns + i % run / rows]).collect()
}
