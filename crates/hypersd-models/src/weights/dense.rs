//! Dense layers.

use burn::{
    module::Param,
    tensor::{Device, FloatDType, Tensor},
};
#[cfg(feature = "flex")]
use hypersd_core::Products;
use hypersd_core::slots;

use super::{Weight, bias};

/// A dense layer, `y = W x + b`. [`ops::linear`](crate::ops::linear) computes it.
#[derive(Debug, Clone)]
pub struct Linear {
    /// `[d_out, d_in]`
    pub(crate) weight: Weight<2>,
    pub(crate) bias: Option<Param<Tensor<1>>>,
}

slots!(Linear { weight, bias });

impl Linear {
    /// A layer from `d_in` to `d_out` features, without its weights: nothing can be computed before it is
    /// [loaded](hypersd_core::load).
    #[must_use]
    pub fn new(d_in: usize, d_out: usize, device: &Device) -> Self {
        Self { weight: Weight::new([d_out, d_in], device), bias: Some(bias(d_out, device)) }
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

    /// True if the layer multiplies narrow numbers, and the processor multiplies bf16 faster than f32.
    #[cfg(feature = "flex")]
    pub(crate) fn has_narrow_products(&self) -> bool {
        self.weight.products() != Products::F32 && hypersd_kernels::has_bf16_products()
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }
}
