//! The residuals that a ControlNet adds to a UNet.

use std::ops::{Add, Mul};

use burn::tensor::Tensor;

/// Tensors that are added to the skip connections and to the middle block's output. Several ControlNets are
/// `a * 0.8 + b`.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// One per skip connection, in the order the UNet makes them: after the first convolution, then after every
    /// layer and downsampler of the down blocks. 12 for SD1.5, 9 for SDXL, each of its skip's shape.
    pub down: Vec<Tensor<4>>,
    /// For the output of the middle block, of its shape.
    pub mid: Tensor<4>,
}

/// All tensors times a strength.
impl Mul<f32> for Residuals {
    type Output = Self;

    fn mul(self, strength: f32) -> Self {
        Self { down: self.down.into_iter().map(|x| x * strength).collect(), mid: self.mid * strength }
    }
}

/// The sum of two sets, as when two ControlNets guide one picture. Panics if the two were not made for the same
/// network and picture size.
impl Add for Residuals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        assert_eq!(self.down.len(), other.down.len(), "residuals of the same network");
        Self {
            down: self.down.into_iter().zip(other.down).map(|(x, y)| x + y).collect(),
            mid: self.mid + other.mid,
        }
    }
}
