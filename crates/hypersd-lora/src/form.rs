//! The forms of a LoRA module: what each does to a weight.
//!
//! A form answers three questions: does it fit a weight of this shape, what is its factor `alpha / rank`, and,
//! given the weight in f32, what is the weight after it.

mod delta;
mod dora;
mod full;
mod loha;
mod lokr;
mod low_rank;
mod parts;
mod product;
mod scale;
mod shape;

use hypersd_core::{Error as CoreError, TensorSource};

use crate::{error::Error, floats::first_not_finite, grammar::Piece, sum::Sum};

pub use delta::Delta;
pub use dora::Dora;
pub use full::Full;
pub use loha::LoHa;
pub use lokr::LoKr;
pub use low_rank::LowRank;
pub(crate) use parts::Parts;
pub(crate) use scale::Scale;

/// The form of a module: which tensors it has and how they change a weight. `m` is the user's weight, `s` is
/// `alpha / rank`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// `W + m · s · Δ`
    Delta(Delta),
    /// `W + m · (W' − W)`, `W'` being `W + s · Δ` with its rows or columns brought to given lengths
    Dora(Dora),
}

impl Form {
    /// What the pieces of a module make for its weight; `None` where they are for its bias alone.
    pub(crate) fn new(parts: &Parts<'_>) -> Result<Option<Self>, Error> {
        let has_magnitude = parts.any(&dora::PIECES);
        if !has_magnitude && !Delta::is_in(parts) && parts.any(&[Piece::DiffBias]) {
            return Ok(None);
        }
        let delta = Delta::new(parts)?;
        if has_magnitude {
            return Ok(Some(Self::Dora(Dora::new(parts, delta)?)));
        }
        if parts.adapter.dora && matches!(delta, Delta::LowRank(_)) {
            return Err(
                parts.wrong("a lora_magnitude_vector, as use_dora in the metadata says", "none".into())
            );
        }
        Ok(Some(Self::Delta(delta)))
    }

    /// The name of the form in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delta(delta) => delta.name(),
            Self::Dora(dora) => dora.name(),
        }
    }

    /// The divisor of alpha; `None` for a form that has no rank.
    #[must_use]
    pub fn rank(&self) -> Option<usize> {
        self.scaling().rank
    }

    /// The alpha that the file gives; where it gives none, alpha is the rank and the factor 1.
    #[must_use]
    pub fn alpha(&self) -> Option<f32> {
        self.scaling().alpha
    }

    /// `alpha / rank`, and 1 for a form without a rank.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scaling().factor()
    }

    pub(crate) fn scaling(&self) -> Scale {
        self.delta().scale()
    }

    /// The shape of weight that the form is made for, as far as the form tells.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.delta().shape()
    }

    /// True where the form can change a weight of this shape: `[out, in]`, `[out, in, kh, kw]` or, without factors,
    /// `[out]`.
    pub(crate) fn fits(&self, weight: &[usize]) -> bool {
        shape::same_matrix(&self.shape(), weight)
            && match self {
                Self::Delta(_) => true,
                Self::Dora(dora) => dora.axis(weight).is_some(),
            }
    }

    /// Names of the tensors that [`apply`](Self::apply) reads.
    pub(crate) fn tensors(&self) -> Vec<&str> {
        match self {
            Self::Delta(delta) => delta.tensors(),
            Self::Dora(dora) => dora.tensors(),
        }
    }

    /// Puts `weight` times the form into the weight `w`, of a shape that [fits](Self::fits), and says whether all of
    /// what `w` is then is finite.
    pub(crate) fn apply(
        &self,
        file: &dyn TensorSource,
        weight: f32,
        w: &mut Sum<'_>,
        shape: &[usize],
    ) -> Result<bool, CoreError> {
        match self {
            Self::Delta(delta) => delta.add_to(w, file, weight),
            Self::Dora(dora) => {
                dora.apply(file, weight, w, shape)?;
                Ok(first_not_finite(w.elements()).is_none())
            }
        }
    }

    fn delta(&self) -> &Delta {
        match self {
            Self::Delta(delta) => delta,
            Self::Dora(dora) => &dora.delta,
        }
    }
}
