//! Feature maps with a skip connection.

use burn::tensor::Tensor;

use super::conv2d;
#[cfg(feature = "flex")]
use super::cpu;
use crate::weights::Conv2d;

/// Feature maps followed by those of a skip connection. Kernels on the CPU read one after the other, so there they are not
/// copied together.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(super) x: Tensor<4>,
    /// What is not in x already.
    pub(super) skip: Option<Tensor<4>>,
}

impl Joined {
    /// # Shapes
    /// - x `[B, C, H, W]`, skip `[B, D, H, W]` → `[B, C + D, H, W]`
    pub(crate) fn new(x: Tensor<4>, skip: Tensor<4>) -> Self {
        #[cfg(feature = "flex")]
        if cpu::takes(&x) && cpu::takes(&skip) {
            return Self { x, skip: Some(skip) };
        }
        Self { x: Tensor::cat(vec![x, skip], 1), skip: None }
    }

    /// Both in one tensor.
    pub(crate) fn whole(self) -> Tensor<4> {
        match self.skip {
            Some(skip) => Tensor::cat(vec![self.x, skip], 1),
            None => self.x,
        }
    }
}

/// [`conv2d`] of joined feature maps.
///
/// # Shapes
/// - x `[B, c_in, H, W]` → `[B, c_out, H', W']`
pub(crate) fn conv2d_joined(x: Joined, layer: &Conv2d) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x.x) {
        return cpu::conv2d(x.x, x.skip, layer, None, None);
    }
    conv2d(x.whole(), layer)
}
