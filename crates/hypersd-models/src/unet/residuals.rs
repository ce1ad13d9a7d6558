//! What a ControlNet adds to a UNet.

use burn::tensor::Tensor;

/// Tensors that are added to the skip connections and to the middle block's output.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// One per skip connection, in the order the UNet makes them: after the first convolution, then after every
    /// layer and downsampler of the down blocks. 12 for SD1.5, 9 for SDXL, each of its skip's shape.
    pub down: Vec<Tensor<4>>,
    /// For the output of the middle block, of its shape.
    pub mid: Tensor<4>,
}

impl Residuals {
    /// All tensors times `strength`.
    #[must_use]
    pub fn scale(self, strength: f32) -> Self {
        Self { down: self.down.into_iter().map(|x| x * strength).collect(), mid: self.mid * strength }
    }

    /// The sum of two sets, as when two ControlNets guide one picture.
    ///
    /// # Panics
    /// If the two were not made for the same network and picture size.
    #[must_use]
    pub fn add(self, other: Self) -> Self {
        assert_eq!(self.down.len(), other.down.len(), "residuals of different networks");
        Self {
            down: self.down.into_iter().zip(other.down).map(|(x, y)| x + y).collect(),
            mid: self.mid + other.mid,
        }
    }
}
