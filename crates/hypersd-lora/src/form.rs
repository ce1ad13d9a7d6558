//! The forms of a LoRA module: what each does to a weight.
//!
//! A form answers three questions: does it fit a weight of this shape, what is its factor `alpha / rank`, and,
//! given the weight in f32, what is the weight after it.

mod delta;
mod dora;
mod full;
mod glora;
mod ia3;
mod loha;
mod lokr;
mod low_rank;
mod oft;
mod parts;
mod product;
mod scale;
mod shape;

use hypersd_core::{Error as CoreError, TensorSource};

use crate::{error::Error, floats::first_not_finite, grammar::Piece, sum::Sum};

pub use delta::Delta;
pub use dora::Dora;
pub use full::Full;
pub use glora::GLora;
pub use ia3::Ia3;
pub use loha::LoHa;
pub use lokr::LoKr;
pub use low_rank::LowRank;
pub use oft::Oft;
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
    /// Rows turned by orthogonal matrices: OFT, and BOFT in several stages
    Oft(Oft),
    /// `W + m · s · (W · a₁ · a₂ + b₁ · b₂)`
    GLora(GLora),
    /// `W ⊙ (1 + m · w)`
    Ia3(Ia3),
}

impl Form {
    /// What the pieces of a module make for its weight; `None` where they are for its bias alone.
    pub(crate) fn new(parts: &Parts<'_>) -> Result<Option<Self>, Error> {
        if let Some(form) = Self::other(parts)? {
            return Ok(Some(form));
        }
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

    /// A form that is no plain change of a weight, which has no pieces of any other.
    fn other(parts: &Parts<'_>) -> Result<Option<Self>, Error> {
        let others: [&[Piece]; 3] = [&oft::PIECES, &glora::PIECES, &ia3::PIECES];
        let found: Vec<usize> = (0..others.len()).filter(|&which| parts.any(others[which])).collect();
        let plain = Delta::is_in(parts) || parts.any(&dora::PIECES);
        Ok(match found[..] {
            [] => None,
            [_] if plain => return Err(parts.wrong("one form", "pieces of two".into())),
            [0] => Some(Self::Oft(Oft::new(parts)?)),
            [1] => Some(Self::GLora(GLora::new(parts)?)),
            [2] => Some(Self::Ia3(Ia3::new(parts)?)),
            _ => return Err(parts.wrong("one form", "pieces of several".into())),
        })
    }

    /// The name of the form in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delta(delta) => delta.name(),
            Self::Dora(dora) => dora.name(),
            Self::Oft(oft) if oft.is_butterfly() => "BOFT",
            Self::Oft(_) => "OFT",
            Self::GLora(_) => "GLoRA",
            Self::Ia3(_) => "(IA)³",
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
        match self {
            Self::Delta(delta) => delta.scale(),
            Self::Dora(dora) => dora.delta.scale(),
            Self::GLora(form) => form.scale,
            Self::Oft(_) | Self::Ia3(_) => Scale::ONE,
        }
    }

    /// The shape of weight that the form is made for, as far as the form tells.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Delta(delta) => delta.shape(),
            Self::Dora(dora) => dora.delta.shape(),
            Self::GLora(form) => form.shape(),
            Self::Oft(oft) => vec![oft.rows()],
            Self::Ia3(form) => vec![form.length()],
        }
    }

    /// True where the form can change a weight of this shape: `[out, in]`, `[out, in, kh, kw]` or, without factors,
    /// `[out]`.
    pub(crate) fn fits(&self, weight: &[usize]) -> bool {
        let same = || shape::same_matrix(&self.shape(), weight);
        match self {
            Self::Delta(_) => same(),
            Self::Dora(dora) => same() && dora.axis(weight).is_some(),
            Self::GLora(_) => same() && weight.len() >= 2,
            Self::Oft(oft) => weight.len() >= 2 && weight[0] == oft.rows(),
            Self::Ia3(form) => form.fits(weight),
        }
    }

    /// Names of the tensors that [`apply`](Self::apply) reads.
    pub(crate) fn tensors(&self) -> Vec<&str> {
        match self {
            Self::Delta(delta) => delta.tensors(),
            Self::Dora(dora) => dora.tensors(),
            Self::Oft(form) => form.tensors(),
            Self::GLora(form) => form.tensors(),
            Self::Ia3(form) => form.tensors(),
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
            Self::GLora(form) => form.apply(file, weight, w),
            Self::Oft(oft) => {
                oft.apply(file, weight, w)?;
                Ok(first_not_finite(w.elements()).is_none())
            }
            Self::Ia3(form) => {
                form.apply(file, weight, w, shape)?;
                Ok(first_not_finite(w.elements()).is_none())
            }
        }
    }
}
