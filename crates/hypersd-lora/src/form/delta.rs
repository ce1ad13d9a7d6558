//! Something to add to a weight, in one of four kinds. Each is one file and one variant.

use hypersd_core::{Error as CoreError, TensorSource};

use super::{
    full::{self, Full},
    loha::{self, LoHa},
    lokr::{self, LoKr},
    low_rank::{self, LowRank},
    parts::Parts,
    scale::Scale,
};
use crate::{error::Error, floats::first_not_finite, grammar::Piece, sum::Sum};

/// A change that is added to a weight, times `m · s`: `m` is the user's weight, `s` is `alpha / rank`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Delta {
    /// `up · down`, with a Tucker core (`lora_mid`) or without
    LowRank(LowRank),
    /// `(a₁ · b₁) ⊙ (a₂ · b₂)`
    LoHa(LoHa),
    /// `w₁ ⊗ w₂`
    LoKr(LoKr),
    /// a difference kept whole
    Full(Full),
}

/// The kinds as messages call them, and the pieces that each is told by.
const KINDS: [(&str, &[Piece]); 4] = [
    ("low-rank factors", &low_rank::PIECES),
    ("LoHa", &loha::PIECES),
    ("LoKr", &lokr::PIECES),
    ("a full difference", &full::PIECES),
];

impl Delta {
    /// True where a module has a piece of any kind.
    pub(super) fn is_in(parts: &Parts<'_>) -> bool {
        KINDS.iter().any(|(_, pieces)| parts.any(pieces))
    }

    /// Takes the pieces of a module. Without any they are missed as low-rank factors, which nearly all modules have.
    pub(super) fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let found: Vec<_> =
            KINDS.iter().filter(|(_, pieces)| parts.any(pieces)).map(|(kind, _)| *kind).collect();
        match found[..] {
            [] | ["low-rank factors"] => LowRank::new(parts).map(Self::LowRank),
            ["LoHa"] => LoHa::new(parts).map(Self::LoHa),
            ["LoKr"] => LoKr::new(parts).map(Self::LoKr),
            ["a full difference"] => Full::weight(parts).map(Self::Full),
            _ => Err(parts.wrong("one form", found.join(" and "))),
        }
    }

    /// The name of the kind in reports.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::LowRank(form) if form.has_core() => "LoCon with a core",
            Self::LowRank(_) => "LoRA",
            Self::LoHa(_) => "LoHa",
            Self::LoKr(_) => "LoKr",
            Self::Full(_) => "full difference",
        }
    }

    pub(super) fn scale(&self) -> Scale {
        match self {
            Self::LowRank(form) => form.scale,
            Self::LoHa(form) => form.scale,
            Self::LoKr(form) => form.scale,
            Self::Full(form) => form.scale,
        }
    }

    /// The shape of weight that it is made for, as far as it tells.
    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Self::LowRank(form) => form.shape(),
            Self::LoHa(form) => form.shape(),
            Self::LoKr(form) => form.shape(),
            Self::Full(form) => form.shape(),
        }
    }

    /// Names of the tensors that [`add_to`](Self::add_to) reads.
    pub(super) fn tensors(&self) -> Vec<&str> {
        match self {
            Self::LowRank(form) => form.tensors(),
            Self::LoHa(form) => form.tensors(),
            Self::LoKr(form) => form.tensors(),
            Self::Full(form) => form.tensors(),
        }
    }

    /// Adds `m · s` times the change to the weight `w`, and says whether all of the sum is finite.
    pub(super) fn add_to(&self, w: &mut Sum<'_>, file: &dyn TensorSource, m: f32) -> Result<bool, CoreError> {
        let scale = (f64::from(m) * self.scale().factor()) as f32;
        match self {
            // It has looked at what it wrote, while that was in the cache.
            Self::LowRank(form) => return form.apply(file, scale, w),
            Self::LoHa(form) => form.apply(file, scale, w.elements())?,
            Self::LoKr(form) => form.apply(file, scale, w.elements())?,
            Self::Full(form) => form.apply(file, scale, w.elements())?,
        }
        Ok(first_not_finite(w.elements()).is_none())
    }
}
