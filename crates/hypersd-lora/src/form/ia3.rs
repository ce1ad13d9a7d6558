//! (IA)³: each row or column of a weight times a learned number (arXiv:2205.05638), as LyCORIS trains it.

use hypersd_core::{Error as CoreError, TensorSource};
use rayon::prelude::*;

use super::parts::{Factor, Parts};
use crate::{error::Error, grammar::Piece, sum::Sum};

pub(super) const PIECES: [Piece; 2] = [Piece::Ia3Weight, Piece::OnInput];

/// `W' = W ⊙ (1 + m · w)`, `w` being of inputs or of outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ia3 {
    factors: Factor,
    on_input: bool,
}

impl Ia3 {
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let factors = parts.factor(Piece::Ia3Weight, &[1, 2, 4], "[n] or [1, n, 1, 1]")?;
        let length: usize = factors.shape.iter().product();
        if factors.shape.iter().all(|&extent| extent != length) {
            return Err(parts.wrong("weight of shape [n] or [1, n, 1, 1]", format!("{:?}", factors.shape)));
        }
        let on_input = parts.number(Piece::OnInput)?;
        match on_input {
            Some(0.0) => Ok(Self { factors, on_input: false }),
            Some(1.0) => Ok(Self { factors, on_input: true }),
            other => {
                let found = other.map_or("none".into(), |other| other.to_string());
                Err(parts.wrong("on_input to be 0 or 1", found))
            }
        }
    }

    /// The number of rows or columns.
    pub(super) fn length(&self) -> usize {
        self.factors.shape.iter().product()
    }

    /// True where it has a number for each row or column of a weight.
    pub(super) fn fits(&self, weight: &[usize]) -> bool {
        weight.len() >= 2 && weight[usize::from(self.on_input)] == self.length()
    }

    pub(super) fn tensors(&self) -> Vec<&str> {
        vec![&self.factors.name]
    }

    pub(super) fn apply(
        &self,
        file: &dyn TensorSource,
        m: f32,
        w: &mut Sum<'_>,
        shape: &[usize],
    ) -> Result<(), CoreError> {
        let factors = self.factors.read(file)?;
        let kernel: usize = shape[2..].iter().product();
        let run = if self.on_input { kernel } else { shape[1] * kernel };
        w.elements().par_chunks_mut(run).enumerate().for_each(|(at, w)| {
            let factor = 1.0 + m * factors[at % factors.len()];
            w.iter_mut().for_each(|w| *w *= factor);
        });
        Ok(())
    }
}
