//! The original LoRA (arXiv:2106.09685, equation 3), and its convolution as kohya's scripts train it: the kernel
//! belongs to the down factor, the up factor is 1x1. LyCORIS' LoCon may have the kernel in a core between them.

use hypersd_core::{Error as CoreError, TensorSource};

use super::{
    parts::Parts,
    product::{Pieces, Product},
    scale::Scale,
};
use crate::{error::Error, grammar::Piece, sum::Sum};

pub(super) const PIECES: [Piece; 4] = [Piece::Down, Piece::Up, Piece::Mid, Piece::UpBias];

/// A low-rank module: `ΔW = alpha / rank · up · down`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    product: Product,
    pub(super) scale: Scale,
}

impl LowRank {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let pieces = Pieces {
            left: Piece::Up,
            right: Piece::Down,
            core: Some(Piece::Mid),
            transposed_with_core: false,
        };
        let product = Product::new(parts, &pieces)?;
        Ok(Self { scale: parts.scale(product.rank())?, product })
    }

    pub(super) fn has_core(&self) -> bool {
        self.product.has_core()
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.product.shape()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        self.product.tensors().collect()
    }

    /// Adds `scale · up · down`, and says whether all of the sum is finite.
    pub(super) fn apply(
        &self,
        file: &dyn TensorSource,
        scale: f32,
        w: &mut Sum<'_>,
    ) -> Result<bool, CoreError> {
        Ok(self.product.read(file)?.add_to(w, scale))
    }
}
