//! Feature maps with a skip connection.

use burn::{nn::conv::Conv2d, tensor::Tensor};

use super::conv2d;
#[cfg(feature = "flex")]
use super::cpu;

/// Feature maps followed by those of a skip connection. Kernels on the CPU read one after the other, so there they are not
/// copied together.
#[derive(Debug, Clone)]
pub enum Joined {
    /// One tensor.
    One(Tensor<4>),
    /// Two that the kernels compute with.
    #[cfg(feature = "flex")]
    Two(Tensor<4>, Tensor<4>),
}

impl Joined {
    /// # Shapes
    /// - x `[B, C, H, W]`, skip `[B, D, H, W]` → `[B, C + D, H, W]`
    #[must_use]
    pub fn new(x: Tensor<4>, skip: Tensor<4>) -> Self {
        #[cfg(feature = "flex")]
        if cpu::takes(&x) && cpu::takes(&skip) {
            return Self::Two(x, skip);
        }
        Self::One(Tensor::cat(vec![x, skip], 1))
    }

    /// Both in one tensor.
    #[must_use]
    pub fn whole(self) -> Tensor<4> {
        match self {
            Self::One(x) => x,
            #[cfg(feature = "flex")]
            Self::Two(x, skip) => Tensor::cat(vec![x, skip], 1),
        }
    }
}

/// [`conv2d`] of joined feature maps.
///
/// # Shapes
/// - x `[B, c_in, H, W]` → `[B, c_out, H', W']`
#[must_use]
pub fn conv2d_joined(x: Joined, layer: &Conv2d) -> Tensor<4> {
    match x {
        #[cfg(feature = "flex")]
        Joined::Two(x, skip) if cpu::has_conv2d(layer) => cpu::conv2d(x, Some(skip), layer, None, None),
        x => conv2d(x.whole(), layer),
    }
}
