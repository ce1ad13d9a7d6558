//! Convolutions.

use burn::{
    module::Param,
    tensor::{Device, FloatDType, Tensor},
};
use hypersd_core::slots;

use super::{Weight, bias};

/// A convolution of images. [`ops::conv2d`](crate::ops::conv2d) computes it.
#[derive(Debug, Clone)]
pub struct Conv2d {
    /// `[c_out, c_in, height, width]`
    pub(crate) weight: Weight<4>,
    pub(crate) bias: Option<Param<Tensor<1>>>,
    pub(crate) stride: usize,
    pub(crate) padding: [(usize, usize); 2],
}

slots!(Conv2d { weight, bias; stride, padding });

impl Conv2d {
    /// A convolution from `c_in` to `c_out` channels with a square kernel of this side, of stride 1 and without padding, and
    /// without its weights: nothing can be computed before it is [loaded](hypersd_core::load).
    #[must_use]
    pub fn new([c_in, c_out]: [usize; 2], kernel: usize, device: &Device) -> Self {
        let weight = Weight::new([c_out, c_in, kernel, kernel], device);
        Self { weight, bias: Some(bias(c_out, device)), stride: 1, padding: [(0, 0); 2] }
    }

    /// The same with a step of so many pixels, in both directions.
    #[must_use]
    pub fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with zeros around the image: so many pixels above and below it, left and right of it.
    #[must_use]
    pub fn with_padding(self, padding: [(usize, usize); 2]) -> Self {
        Self { padding, ..self }
    }

    /// The device that the weights are on, or are to be.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.weight.device()
    }

    /// The type that is computed in beside the weights.
    ///
    /// # Panics
    /// If they are not loaded.
    #[must_use]
    pub fn activation_dtype(&self) -> FloatDType {
        self.weight.activation_dtype()
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }
}
