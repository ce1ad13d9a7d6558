//! What a module of a LoRA file does to a weight. Each form is one file and one variant.
//!
//! A form answers three questions: does it fit a weight of this shape, what is its factor `alpha / rank`, and,
//! given the weight in f32, what is the weight after it.

mod dora;
mod full;
mod loha;
mod lokr;
mod low_rank;
mod parts;
mod product;

use hypersd_core::{Error as CoreError, TensorSource};

use crate::{error::Error, floats::first_not_finite, grammar::Piece, sum::Sum};

pub use dora::Dora;
pub use full::Full;
pub use loha::LoHa;
pub use lokr::LoKr;
pub use low_rank::LowRank;
pub(crate) use parts::Parts;

/// The form of a module: which tensors it has and how they change a weight. `m` is the user's weight, `s` is
/// `alpha / rank`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// `W + m · s · up · down`, with a Tucker core (`lora_mid`) or without
    LowRank(LowRank),
    /// `W + m · s · (a₁ · b₁) ⊙ (a₂ · b₂)`
    LoHa(LoHa),
    /// `W + m · s · w₁ ⊗ w₂`
    LoKr(LoKr),
    /// `W + m · difference`
    Full(Full),
    /// `W + m · (W' − W)`, `W'` being `W + s · Δ` with its rows or columns brought to given lengths
    Dora(Dora),
}

/// The number by which a form multiplies what its factors give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// What alpha is divided by; `None` where the form has no rank, and its factor is 1.
    pub(crate) rank: Option<usize>,
    /// What the file says; where it says nothing, alpha is the rank.
    pub(crate) alpha: Option<f32>,
    /// Divides by the root of the rank instead (rsLoRA).
    pub(crate) rank_stabilized: bool,
}

impl Scale {
    pub(crate) const ONE: Self = Self { rank: None, alpha: None, rank_stabilized: false };

    fn factor(&self) -> f64 {
        let Some(rank) = self.rank.map(|rank| rank as f64) else { return 1.0 };
        let alpha = self.alpha.map_or(rank, f64::from);
        if self.rank_stabilized { alpha / rank.sqrt() } else { alpha / rank }
    }
}

impl Form {
    /// What the pieces of a module make for its weight; `None` where they are for its bias alone.
    pub(crate) fn new(parts: &Parts<'_>) -> Result<Option<Self>, Error> {
        let kinds = [
            ("low-rank factors", parts.any(&[Piece::Down, Piece::Up, Piece::Mid, Piece::UpBias])),
            ("LoHa", parts.any(&loha::PIECES)),
            ("LoKr", parts.any(&lokr::PIECES)),
            ("a full difference", parts.any(&[Piece::Diff])),
        ];
        let found: Vec<_> = kinds.iter().filter(|(_, any)| *any).map(|(kind, _)| *kind).collect();
        let form = match found[..] {
            ["LoHa"] => Self::LoHa(LoHa::new(parts)?),
            ["LoKr"] => Self::LoKr(LoKr::new(parts)?),
            ["a full difference"] => Self::Full(Full::weight(parts)?),
            [] if parts.any(&[Piece::DiffBias]) && !parts.any(&dora::PIECES) => return Ok(None),
            [] | ["low-rank factors"] => Self::LowRank(LowRank::new(parts)?),
            _ => return Err(parts.wrong("one form", found.join(" and "))),
        };
        if parts.any(&dora::PIECES) {
            return Ok(Some(Self::Dora(Dora::new(parts, form)?)));
        }
        if parts.adapter.dora && matches!(form, Self::LowRank(_)) {
            return Err(
                parts.wrong("a lora_magnitude_vector, as use_dora in the metadata says", "none".into())
            );
        }
        Ok(Some(form))
    }

    /// What the form is called in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LowRank(form) if form.has_core() => "LoCon with a core",
            Self::LowRank(_) => "LoRA",
            Self::LoHa(_) => "LoHa",
            Self::LoKr(_) => "LoKr",
            Self::Full(_) => "full difference",
            Self::Dora(form) => form.name(),
        }
    }

    /// What alpha is divided by; `None` for a form that has no rank.
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
            Self::LowRank(form) => form.scale,
            Self::LoHa(form) => form.scale,
            Self::LoKr(form) => form.scale,
            Self::Full(form) => form.scale,
            Self::Dora(form) => form.delta.scaling(),
        }
    }

    /// The shape of weight that the form is made for, as far as the form tells.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::LowRank(form) => form.shape(),
            Self::LoHa(form) => form.shape(),
            Self::LoKr(form) => form.shape(),
            Self::Full(form) => form.shape(),
            Self::Dora(form) => form.delta.shape(),
        }
    }

    /// Whether the form can change a weight of this shape: `[out, in]`, `[out, in, kh, kw]` or, without factors,
    /// `[out]`.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        same_matrix(&self.shape(), shape)
            && match self {
                Self::Dora(form) => form.axis(shape).is_some(),
                _ => true,
            }
    }

    /// Names of the tensors that [`apply`](Self::apply) reads.
    pub(crate) fn tensors(&self) -> Vec<&str> {
        match self {
            Self::LowRank(form) => form.tensors(),
            Self::LoHa(form) => form.tensors(),
            Self::LoKr(form) => form.tensors(),
            Self::Full(form) => form.tensors(),
            Self::Dora(form) => form.tensors(),
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
        let scale = (f64::from(weight) * self.scale()) as f32;
        match self {
            // It has looked at what it wrote, while that was in the cache.
            Self::LowRank(form) => return form.apply(file, scale, w),
            Self::LoHa(form) => form.apply(file, scale, w.elements())?,
            Self::LoKr(form) => form.apply(file, scale, w.elements())?,
            Self::Full(form) => form.apply(file, scale, w.elements())?,
            Self::Dora(form) => form.apply(file, weight, w, shape)?,
        }
        Ok(first_not_finite(w.elements()).is_none())
    }
}

/// Whether a product of one shape can be added to a weight of another. 1x1 kernels come and go (`proj_in` is a
/// convolution in SD1.5 and a linear in SDXL), others must agree unless the file flattened them.
fn same_matrix(delta: &[usize], weight: &[usize]) -> bool {
    fn bare(tail: &[usize]) -> &[usize] {
        tail.strip_suffix(&[1, 1]).filter(|rest| rest.len() == 1).unwrap_or(tail)
    }
    let (Some((rows, of_delta)), Some((out, of_weight))) = (delta.split_first(), weight.split_first()) else {
        return false;
    };
    let flattened = || matches!(of_delta, [columns] if checked_product(of_weight) == Some(*columns));
    rows == out && (bare(of_delta) == bare(of_weight) || flattened())
}

/// The number of elements, unless it is beyond all memory.
fn checked_product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent))
}
