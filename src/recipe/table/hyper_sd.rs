//! Hyper-SD, of ByteDance.

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, Spacing};

use super::{NO_GUIDANCE, licence, lora, model, unet};
use crate::recipe::{Allowed, Recipe};

const HYPER_SD: &str = "https://huggingface.co/ByteDance/Hyper-SD";

/// A LoRA of Hyper-SD for a fixed number of steps. The trajectory was distilled in segments that end at the
/// timesteps of trailing spacing, and followed without noise: eta is 0.
pub(super) const HYPER_N_STEPS: Recipe = Recipe {
    name: "",
    family: Family::Sd1,
    files: &[],
    scheduler: Algorithm::Ddim,
    spacing: Some(Spacing::Trailing),
    steps: Allowed::only(0),
    timesteps: None,
    original_steps: None,
    timestep_shift: None,
    karras: None,
    prediction: None,
    eta: Some(Allowed::only(0.0)),
    guidance: NO_GUIDANCE,
    lora_weight: None,
    size: None,
    licence: licence("Open RAIL++-M", "https://huggingface.co/ByteDance/Hyper-SD/blob/main/LICENSE.md"),
    source: HYPER_SD,
};

/// The same, distilled so that it still answers to guidance and negative prompts. The publisher gives the range.
const HYPER_CFG: Recipe =
    Recipe { guidance: Allowed { least: 5.0, most: 8.0, default: 5.0 }, ..HYPER_N_STEPS };

/// The LoRA for any number of steps up to eight. The publisher's eta is 1, less for more detail in several steps.
pub(super) const HYPER_UNIFIED: Recipe = Recipe {
    scheduler: Algorithm::Tcd,
    spacing: None,
    steps: Allowed { least: 1, most: 8, default: 1 },
    eta: Some(Allowed { least: 0.0, most: 1.0, default: 1.0 }),
    ..HYPER_N_STEPS
};

impl Recipe {
    /// Hyper-SD's 2-step LoRA for Stable Diffusion 1.5.
    pub const HYPER_SD15_2STEPS: Self = Self {
        name: "hyper-sd15-2steps",
        files: &[lora("Hyper-SD15-2steps-lora")],
        steps: Allowed::only(2),
        ..HYPER_N_STEPS
    };
    /// Hyper-SD's 4-step LoRA for Stable Diffusion 1.5.
    pub const HYPER_SD15_4STEPS: Self = Self {
        name: "hyper-sd15-4steps",
        files: &[lora("Hyper-SD15-4steps-lora")],
        steps: Allowed::only(4),
        ..HYPER_N_STEPS
    };
    /// Hyper-SD's 8-step LoRA for Stable Diffusion 1.5.
    pub const HYPER_SD15_8STEPS: Self = Self {
        name: "hyper-sd15-8steps",
        files: &[lora("Hyper-SD15-8steps-lora")],
        steps: Allowed::only(8),
        ..HYPER_N_STEPS
    };
    /// Hyper-SD's 8-step LoRA with guidance for Stable Diffusion 1.5.
    pub const HYPER_SD15_8STEPS_CFG: Self = Self {
        name: "hyper-sd15-8steps-cfg",
        files: &[lora("Hyper-SD15-8steps-CFG-lora")],
        steps: Allowed::only(8),
        ..HYPER_CFG
    };
    /// Hyper-SD's 12-step LoRA with guidance for Stable Diffusion 1.5.
    pub const HYPER_SD15_12STEPS_CFG: Self = Self {
        name: "hyper-sd15-12steps-cfg",
        files: &[lora("Hyper-SD15-12steps-CFG-lora")],
        steps: Allowed::only(12),
        ..HYPER_CFG
    };
    /// Hyper-SD's unified ("1-step") LoRA for Stable Diffusion 1.5, in one step unless said otherwise.
    pub const HYPER_SD15_UNIFIED: Self =
        Self { name: "hyper-sd15-unified", files: &[lora("Hyper-SD15-1step-lora")], ..HYPER_UNIFIED };
    /// Hyper-SD's 2-step LoRA for SDXL.
    pub const HYPER_SDXL_2STEPS: Self = Self {
        name: "hyper-sdxl-2steps",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-2steps-lora")],
        ..Self::HYPER_SD15_2STEPS
    };
    /// Hyper-SD's 4-step LoRA for SDXL.
    pub const HYPER_SDXL_4STEPS: Self = Self {
        name: "hyper-sdxl-4steps",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-4steps-lora")],
        ..Self::HYPER_SD15_4STEPS
    };
    /// Hyper-SD's 8-step LoRA for SDXL.
    pub const HYPER_SDXL_8STEPS: Self = Self {
        name: "hyper-sdxl-8steps",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-8steps-lora")],
        ..Self::HYPER_SD15_8STEPS
    };
    /// Hyper-SD's 8-step LoRA with guidance for SDXL.
    pub const HYPER_SDXL_8STEPS_CFG: Self = Self {
        name: "hyper-sdxl-8steps-cfg",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-8steps-CFG-lora")],
        ..Self::HYPER_SD15_8STEPS_CFG
    };
    /// Hyper-SD's 12-step LoRA with guidance for SDXL.
    pub const HYPER_SDXL_12STEPS_CFG: Self = Self {
        name: "hyper-sdxl-12steps-cfg",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-12steps-CFG-lora")],
        ..Self::HYPER_SD15_12STEPS_CFG
    };
    /// Hyper-SD's unified ("1-step") LoRA for SDXL, in one step unless said otherwise.
    pub const HYPER_SDXL_UNIFIED: Self = Self {
        name: "hyper-sdxl-unified",
        family: Family::Sdxl,
        files: &[lora("Hyper-SDXL-1step-lora")],
        ..HYPER_UNIFIED
    };
    /// Hyper-SD's one-step UNet for SDXL, which starts at timestep 800.
    pub const HYPER_SDXL_1STEP_UNET: Self = Self {
        name: "hyper-sdxl-1step-unet",
        family: Family::Sdxl,
        files: &[unet("Hyper-SDXL-1step-Unet"), model("Hyper-SDXL-1step-Unet-Comfyui")],
        scheduler: Algorithm::Lcm,
        spacing: None,
        steps: Allowed::only(1),
        timesteps: Some(&[800]),
        eta: None,
        ..HYPER_N_STEPS
    };
}
