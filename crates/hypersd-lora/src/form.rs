//! What a module of a LoRA file does to a weight. Each form is one file and one variant.
//!
//! A form answers three questions: does it fit a weight of this shape, what is its factor `alpha / rank`, and,
//! given the weight in f32, what is the weight after it. Forms that multiply rather than add fit the same seam.

mod low_rank;

use hypersd_core::TensorSource;
use ndarray::ArrayViewMut2;

pub use low_rank::LowRank;
pub(crate) use low_rank::Parts;

/// The form of a module: which tensors it has and how they change a weight.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// `W + weight · alpha / rank · up · down`
    LowRank(LowRank),
}

impl Form {
    /// Whether the form can change a weight of this shape: `[out, in]` or `[out, in, kh, kw]`.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        match self {
            Self::LowRank(form) => form.fits(shape),
        }
    }

    /// The shape of weight that the form is made for, as far as the form tells.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::LowRank(form) => form.shape(),
        }
    }

    /// `alpha / rank`, by which the user's weight is multiplied.
    pub(crate) fn scale(&self) -> f64 {
        match self {
            Self::LowRank(form) => form.scale(),
        }
    }

    /// Names of the tensors that [`apply`](Self::apply) reads.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::LowRank(form) => form.tensors(),
        }
    }

    /// Changes `w [out, in · kh · kw]` in place, with `scale` = the user's weight · [`scale`](Self::scale).
    pub(crate) fn apply(
        &self,
        file: &dyn TensorSource,
        scale: f32,
        w: ArrayViewMut2<'_, f32>,
    ) -> Result<(), hypersd_core::Error> {
        match self {
            Self::LowRank(form) => form.apply(file, scale, w),
        }
    }
}
