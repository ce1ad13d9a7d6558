//! The difference to a trained weight or bias, kept whole.

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::{
    parts::{Factor, Parts},
    scale::Scale,
};
use crate::{error::Error, grammar::Piece};

pub(super) const PIECES: [Piece; 1] = [Piece::Diff];

/// A module that holds the change itself. Its scale is 1, except that the bias of an up factor is scaled as the
/// factor is.
#[derive(Debug, Clone, PartialEq)]
pub struct Full {
    difference: Factor,
    pub(super) scale: Scale,
}

impl Full {
    pub(super) fn weight(parts: &Parts<'_>) -> Result<Self, Error> {
        let difference = parts.factor(Piece::Diff, &[1, 2, 4], "of a weight")?;
        Ok(Self { difference, scale: Scale::ONE })
    }

    /// The change of a module's bias, if it has one; `of_weight` is the scale of the change of its weight.
    pub(crate) fn bias(parts: &Parts<'_>, of_weight: Option<Scale>) -> Result<Option<Self>, Error> {
        let piece = match (parts.any(&[Piece::DiffBias]), parts.any(&[Piece::UpBias])) {
            (false, false) => return Ok(None),
            (true, true) => {
                return Err(parts.wrong("one change of the bias", "diff_b and lora_B.bias".into()));
            }
            (true, false) => Piece::DiffBias,
            (false, true) => Piece::UpBias,
        };
        let scale = of_weight.filter(|_| piece == Piece::UpBias).unwrap_or(Scale::ONE);
        Ok(Some(Self { difference: parts.factor(piece, &[1], "[out]")?, scale }))
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.difference.shape.clone()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        vec![&self.difference.name]
    }

    pub(super) fn apply(&self, file: &dyn TensorSource, scale: f32, w: &mut [f32]) -> Result<(), CoreError> {
        let difference = self.difference.read(file)?;
        w.par_iter_mut().zip(difference.par_iter()).for_each(|(w, difference)| *w += scale * difference);
        Ok(())
    }
}
