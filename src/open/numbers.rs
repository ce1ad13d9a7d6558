//! What each network multiplies, and what its weights are stored in.

use burn::tensor::{Device, FloatDType};
use hypersd_core::Products;
use hypersd_models::multiplies;

/// What the networks multiply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// UNet and ControlNets.
    pub(super) denoiser: Products,
    /// Text encoders and VAE.
    pub(super) others: Products,
    /// The type that the weights of these are stored in.
    pub(super) others_dtype: FloatDType,
}

impl Numbers {
    /// What a device multiplies of what was asked for.
    pub(super) fn choose(dtype: FloatDType, products: Option<Products>, device: &Device) -> Self {
        let halves = multiplies(Products::Bf16, device);
        let asked = products.unwrap_or(Products::Bf16); // where weights are in bf16
        match asked {
            Products::Int8 if multiplies(Products::Int8, device) => {
                let (others, others_dtype) =
                    if halves { (Products::Bf16, FloatDType::BF16) } else { (Products::F32, dtype) };
                Self { denoiser: Products::Int8, others, others_dtype }
            }
            Products::Bf16 if halves && dtype == FloatDType::BF16 => {
                Self { denoiser: asked, others: asked, others_dtype: dtype }
            }
            _ => Self { denoiser: Products::F32, others: Products::F32, others_dtype: dtype },
        }
    }

    /// True if bf16 would have been multiplied, had the processor been able to.
    pub(super) fn falls_short(self, dtype: FloatDType, products: Option<Products>, device: &Device) -> bool {
        let on_cpu = multiplies(Products::Int8, device);
        let wanted = dtype == FloatDType::BF16 && products.is_none_or(|products| products == Products::Bf16);
        on_cpu && wanted && self.denoiser == Products::F32
    }
}
