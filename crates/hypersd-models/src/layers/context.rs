//! The context: all that the cross-attention of a network attends to.

use burn::tensor::{FloatDType, Tensor};

use crate::error::{Error, cat, check_shape};

/// The condition that attention reads: the states of the prompts.
///
/// Blocks hand it on as it is. Only cross-attention (`attn2` of a transformer block) looks inside, so that what else can
/// be attended to has one place to be read in.
#[derive(Debug, Clone)]
pub struct Context {
    /// States of the prompts' tokens, `[B, T, D]`.
    pub(crate) text: Tensor<3>,
}

impl Context {
    /// The states of prompts, as a text encoder gives them.
    ///
    /// # Shapes
    /// - states `[B, T, cross_attention_dim]`; T is 77 for one prompt
    #[must_use]
    pub fn text(states: Tensor<3>) -> Self {
        Self { text: states }
    }

    /// Number of pictures.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.text.dims()[0]
    }

    /// The pictures of both, one batch after the other, on the device and in the type of the first.
    ///
    /// # Errors
    /// [`Error::Shape`] if the two differ in their number of tokens or in their width.
    pub fn cat(self, other: Self) -> Result<Self, Error> {
        Ok(Self { text: cat("context", self.text, other.text)? })
    }

    /// The context as the blocks take it: checked for a batch and the network's width, and in the type that is computed
    /// in.
    pub(crate) fn prepare(&self, batch: usize, width: usize, dtype: FloatDType) -> Result<Self, Error> {
        check_shape("context", self.text.dims(), [Some(batch), None, Some(width)])?;
        Ok(Self { text: self.text.clone().cast(dtype) })
    }
}
