//! Consistency models and what is run as they are: LCM-LoRA, TCD, DMD2, NitroFusion, Flash Diffusion, SLAM, YOSO.

use hypersd_core::Family;
use hypersd_schedulers::Algorithm;

use super::{
    NO_GUIDANCE,
    hyper_sd::{HYPER_N_STEPS, HYPER_UNIFIED},
    licence, lora, unet,
};
use crate::recipe::{Allowed, Recipe};

/// The LoRA of latent consistency models: 2 to 8 steps, guidance off or up to 2.
const LCM_LORA: Recipe = Recipe {
    scheduler: Algorithm::Lcm,
    spacing: None,
    steps: Allowed { least: 2, most: 8, default: 4 },
    eta: None,
    guidance: Allowed { least: 0.0, most: 2.0, default: 0.0 },
    licence: None,
    ..HYPER_N_STEPS
};

/// One of the consistency models: LCM without guidance.
pub(super) const LCM_N_STEPS: Recipe = Recipe { guidance: NO_GUIDANCE, family: Family::Sdxl, ..LCM_LORA };

/// Distribution matching distillation, of which 4 steps are at timesteps of their own.
pub(super) const DMD2: Recipe = Recipe {
    licence: licence("CC BY-NC-SA 4.0", "https://github.com/tianweiy/DMD2/blob/main/LICENSE.md"),
    source: "https://github.com/tianweiy/DMD2",
    ..LCM_N_STEPS
};

/// The LoRAs of trajectory consistency distillation. The publisher's eta is 0.3, more for more steps.
const TCD_LORA: Recipe = Recipe {
    steps: Allowed { least: 4, most: 8, default: 4 },
    eta: Some(Allowed { least: 0.0, most: 1.0, default: 0.3 }),
    licence: None,
    source: "https://github.com/jabir-zheng/TCD",
    ..HYPER_UNIFIED
};

/// NitroFusion: asked at shifted timesteps of the four that it was distilled at.
const NITRO: Recipe = Recipe {
    steps: Allowed { least: 1, most: 4, default: 1 },
    original_steps: Some(4),
    source: "https://github.com/ChenDarYen/NitroFusion",
    ..LCM_N_STEPS
};

/// Flash Diffusion: 4 steps of LCM.
const FLASH: Recipe = Recipe {
    steps: Allowed::only(4),
    licence: licence("CC BY-NC 4.0", "https://github.com/gojasper/flash-diffusion#license"),
    source: "https://github.com/gojasper/flash-diffusion",
    ..LCM_N_STEPS
};

impl Recipe {
    /// The LCM-LoRA for Stable Diffusion 1.5.
    pub const LCM_LORA_SD15: Self = Self {
        name: "lcm-lora-sd15",
        files: &[lora("lcm-lora-sdv1-5")],
        source: "https://huggingface.co/latent-consistency/lcm-lora-sdv1-5",
        ..LCM_LORA
    };
    /// The LCM-LoRA for SDXL.
    pub const LCM_LORA_SDXL: Self = Self {
        name: "lcm-lora-sdxl",
        family: Family::Sdxl,
        files: &[lora("lcm-lora-sdxl")],
        source: "https://huggingface.co/latent-consistency/lcm-lora-sdxl",
        ..LCM_LORA
    };
    /// Flash Diffusion's LoRA for Stable Diffusion 1.5.
    pub const FLASH_SD15: Self =
        Self { name: "flash-sd15", family: Family::Sd1, files: &[lora("flash-sd")], ..FLASH };
    /// Flash Diffusion's LoRA for SDXL.
    pub const FLASH_SDXL: Self = Self { name: "flash-sdxl", files: &[lora("flash-sdxl")], ..FLASH };
    /// SLAM's LoRA for SDXL.
    pub const SLAM_LORA_SDXL: Self = Self {
        name: "slam-lora-sdxl",
        files: &[lora("slam-lora-sdxl")],
        steps: Allowed { least: 2, most: 4, default: 4 },
        licence: licence("Apache 2.0", "https://huggingface.co/alimama-creative/slam-lora-sdxl"),
        source: "https://huggingface.co/alimama-creative/slam-lora-sdxl",
        ..LCM_N_STEPS
    };
    /// YOSO's LoRA for Stable Diffusion 1.5.
    pub const YOSO_SD15: Self = Self {
        name: "yoso-sd15",
        family: Family::Sd1,
        files: &[lora("yoso_sd1.5_lora")],
        steps: Allowed::only(2),
        guidance: Allowed::only(1.5),
        source: "https://huggingface.co/Luo-Yihong/yoso_sd1.5_lora",
        ..LCM_N_STEPS
    };
    /// DMD2 for SDXL in 4 steps.
    pub const DMD2_SDXL_4STEPS: Self = Self {
        name: "dmd2-sdxl-4steps",
        files: &[lora("dmd2_sdxl_4step_lora"), unet("dmd2_sdxl_4step_unet")],
        steps: Allowed::only(4),
        timesteps: Some(&[999, 749, 499, 249]),
        ..DMD2
    };
    /// DMD2's one-step UNet for SDXL, which starts at timestep 399.
    pub const DMD2_SDXL_1STEP_UNET: Self = Self {
        name: "dmd2-sdxl-1step-unet",
        files: &[unet("dmd2_sdxl_1step_unet")],
        steps: Allowed::only(1),
        timesteps: Some(&[399]),
        ..DMD2
    };
    /// The TCD-LoRA for Stable Diffusion 1.5.
    pub const TCD_LORA_SD15: Self =
        Self { name: "tcd-lora-sd15", files: &[lora("TCD-SD15-LoRA")], ..TCD_LORA };
    /// The TCD-LoRA for Stable Diffusion 2.1 base.
    pub const TCD_LORA_SD21: Self = Self {
        name: "tcd-lora-sd21-base",
        family: Family::Sd2,
        files: &[lora("TCD-SD21-base-LoRA")],
        ..TCD_LORA
    };
    /// The TCD-LoRA for SDXL.
    pub const TCD_LORA_SDXL: Self =
        Self { name: "tcd-lora-sdxl", family: Family::Sdxl, files: &[lora("TCD-SDXL-LoRA")], ..TCD_LORA };
    /// NitroFusion's realistic UNet for SDXL, in one step unless said otherwise.
    pub const NITROSD_REALISM: Self = Self {
        name: "nitrosd-realism",
        files: &[unet("nitrosd-realism_unet")],
        timestep_shift: Some(250),
        licence: licence("CC BY-NC 4.0", "https://github.com/ChenDarYen/NitroFusion#license"),
        ..NITRO
    };
    /// NitroFusion's vivid UNet for SDXL, in one step unless said otherwise.
    pub const NITROSD_VIBRANT: Self = Self {
        name: "nitrosd-vibrant",
        files: &[unet("nitrosd-vibrant_unet")],
        timestep_shift: Some(500),
        licence: licence("Open RAIL++-M", "https://github.com/ChenDarYen/NitroFusion#license"),
        ..NITRO
    };
}
