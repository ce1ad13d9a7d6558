//! LoKr: a Kronecker product whose halves may each be a low-rank product (arXiv:2212.10650; arXiv:2309.14859,
//! section 3.3).

use std::borrow::Cow;

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::{
    parts::{Factor, Parts},
    product::{Pieces, Product},
    scale::Scale,
    shape::checked_product,
};
use crate::{error::Error, grammar::Piece};

pub(super) const PIECES: [Piece; 7] = [
    Piece::LokrW1,
    Piece::LokrW1A,
    Piece::LokrW1B,
    Piece::LokrW2,
    Piece::LokrW2A,
    Piece::LokrW2B,
    Piece::LokrT2,
];

/// A module with two small matrices: `ΔW = scale · w₁ ⊗ w₂`.
///
/// The scale is `alpha / rank` of the second half's product, else of the first's. Two whole matrices have no rank:
/// their scale is 1 and an alpha in the file means nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct LoKr {
    first: Half,
    second: Half,
    shape: Vec<usize>,
    pub(super) scale: Scale,
}

#[derive(Debug, Clone, PartialEq)]
enum Half {
    Whole(Factor),
    Product(Product),
}

impl LoKr {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let first = Half::new(parts, Piece::LokrW1, Piece::LokrW1A, Piece::LokrW1B)?;
        let second = Half::new(parts, Piece::LokrW2, Piece::LokrW2A, Piece::LokrW2B)?;
        let scale = match (&first, &second) {
            (_, Half::Product(product)) | (Half::Product(product), _) => parts.scale(product.rank())?,
            _ => Scale::ONE,
        };
        let (one, two) = (first.shape(), second.shape());
        let kernel = [&one[2..], &two[2..]];
        let extents = [one[0].checked_mul(two[0]), one[1].checked_mul(two[1])];
        let shape = match extents {
            // A kernel is the second half's: the first stands for every position in it.
            [Some(out), Some(inputs)] if kernel[0].iter().all(|&k| k == 1) => {
                [&[out, inputs], kernel[1]].concat()
            }
            _ => return Err(parts.wrong("lokr_w1 of shape [out₁, in₁]", format!("{one:?}, lokr_w2 {two:?}"))),
        };
        match checked_product(&shape) {
            Some(_) => Ok(Self { first, second, shape, scale }),
            None => Err(parts.wrong("halves of a weight", format!("{one:?} and {two:?}"))),
        }
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.shape.clone()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        [&self.first, &self.second]
            .into_iter()
            .flat_map(|half| match half {
                Half::Whole(factor) => vec![factor.name.as_str()],
                Half::Product(product) => product.tensors().collect(),
            })
            .collect()
    }

    /// Row `o₁ · out₂ + o₂` gets, side by side for every `i₁`, `w₁[o₁, i₁]` times the row `o₂` of `w₂`.
    pub(super) fn apply(&self, file: &dyn TensorSource, scale: f32, w: &mut [f32]) -> Result<(), CoreError> {
        let [first, second] = [self.first.read(file)?, self.second.read(file)?];
        let [inputs, rows] = [self.first.shape()[1], self.second.shape()[0]];
        let columns = second.len() / rows;
        w.par_chunks_mut(inputs * columns).enumerate().for_each(|(row, w)| {
            let first = &first[row / rows * inputs..][..inputs];
            let second = &second[row % rows * columns..][..columns];
            for (w, &first) in w.chunks_mut(columns).zip(first) {
                let factor = scale * first;
                for (w, second) in w.iter_mut().zip(second) {
                    *w += factor * second;
                }
            }
        });
        Ok(())
    }
}

impl Half {
    fn new(parts: &Parts<'_>, whole: Piece, left: Piece, right: Piece) -> Result<Self, Error> {
        match (parts.any(&[whole]), parts.any(&[left, right])) {
            (true, false) => {
                Ok(Self::Whole(parts.factor(whole, &[2, 4], "[out, in] or [out, in, kh, kw]")?))
            }
            (true, true) => Err(parts.wrong(&format!("{} or its factors", whole.name()), "both".into())),
            (false, true) => {
                // Only the second half is ever given a core.
                let core = (whole == Piece::LokrW2).then_some(Piece::LokrT2);
                let pieces = Pieces { left, right, core, transposed_with_core: true };
                Ok(Self::Product(Product::new(parts, &pieces)?))
            }
            (false, false) => Err(parts.wrong(&format!("a {}", whole.name()), "none".into())),
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Whole(factor) => factor.shape.clone(),
            Self::Product(product) => product.shape(),
        }
    }

    fn read<'a>(&self, file: &'a dyn TensorSource) -> Result<Cow<'a, [f32]>, CoreError> {
        match self {
            Self::Whole(factor) => factor.read(file),
            Self::Product(product) => {
                let factors = product.read(file)?;
                let mut whole = Vec::new();
                factors.rows(0..factors.out, &mut whole);
                Ok(Cow::Owned(whole))
            }
        }
    }
}
