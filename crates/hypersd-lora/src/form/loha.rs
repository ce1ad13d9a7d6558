//! LoHa: the Hadamard product of two low-rank products (arXiv:2108.06098, proposition 2), and with Tucker cores
//! for convolutions (proposition 3).

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::{
    parts::Parts,
    product::{Pieces, Product},
    scale::Scale,
};
use crate::{error::Error, grammar::Piece};

pub(super) const PIECES: [Piece; 6] =
    [Piece::HadaW1A, Piece::HadaW1B, Piece::HadaW2A, Piece::HadaW2B, Piece::HadaT1, Piece::HadaT2];

/// A module with two products: `ΔW = alpha / rank · (a₁ · b₁) ⊙ (a₂ · b₂)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoHa {
    products: [Product; 2],
    pub(super) scale: Scale,
}

impl LoHa {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let product = |left, right, core| {
            Product::new(parts, &Pieces { left, right, core: Some(core), transposed_with_core: true })
        };
        let first = product(Piece::HadaW1A, Piece::HadaW1B, Piece::HadaT1)?;
        let second = product(Piece::HadaW2A, Piece::HadaW2B, Piece::HadaT2)?;
        if first.shape() != second.shape() {
            let expected = format!("two products of shape {:?}", first.shape());
            return Err(parts.wrong(&expected, format!("a second of {:?}", second.shape())));
        }
        Ok(Self { scale: parts.scale(first.rank())?, products: [first, second] })
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.products[0].shape()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        self.products.iter().flat_map(Product::tensors).collect()
    }

    pub(super) fn apply(&self, file: &dyn TensorSource, scale: f32, w: &mut [f32]) -> Result<(), CoreError> {
        /// The products are made for this many rows at a time, so that they never stand beside a weight whole.
        const ROWS: usize = 256;
        let [mut a, b] = [self.products[0].read(file)?, self.products[1].read(file)?];
        a.scale(scale);
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        for (i, w) in w.chunks_mut(ROWS * a.columns).enumerate() {
            let rows = i * ROWS..i * ROWS + w.len() / a.columns;
            a.rows(rows.clone(), &mut of_a);
            b.rows(rows, &mut of_b);
            let rows =
                w.par_chunks_mut(a.columns).zip(of_a.par_chunks(a.columns)).zip(of_b.par_chunks(a.columns));
            rows.for_each(|((w, a), b)| {
                for ((w, a), b) in w.iter_mut().zip(a).zip(b) {
                    *w += a * b;
                }
            });
        }
        Ok(())
    }
}
