//! Phased consistency models.

use hypersd_core::Family;
use hypersd_schedulers::Algorithm;

use super::{hyper_sd::HYPER_UNIFIED, lora};
use crate::recipe::{Allowed, Recipe};

/// A phased consistency model for a fixed number of steps, without guidance. Its demo's TCD has the eta of the pipeline.
const PCM: Recipe = Recipe {
    eta: Some(Allowed::only(0.0)),
    licence: None,
    source: "https://github.com/G-U-N/Phased-Consistency-Model/blob/58658b6/demo/app.py",
    ..HYPER_UNIFIED
};

/// The same, distilled with guidance.
const PCM_CFG: Recipe = Recipe { guidance: Allowed::only(7.5), ..PCM };

/// The same, distilled as LCM-LoRAs are.
const PCM_LCM: Recipe =
    Recipe { scheduler: Algorithm::Lcm, steps: Allowed { least: 1, most: 20, default: 4 }, eta: None, ..PCM };

impl Recipe {
    /// PCM's 2-step LoRA for Stable Diffusion 1.5.
    pub const PCM_SD15_2STEPS: Self = Self {
        name: "pcm-sd15-2steps",
        files: &[lora("pcm_sd15_smallcfg_2step")],
        steps: Allowed::only(2),
        ..PCM
    };
    /// PCM's 4-step LoRA for Stable Diffusion 1.5.
    pub const PCM_SD15_4STEPS: Self = Self {
        name: "pcm-sd15-4steps",
        files: &[lora("pcm_sd15_smallcfg_4step")],
        steps: Allowed::only(4),
        ..PCM
    };
    /// PCM's 8-step LoRA for Stable Diffusion 1.5.
    pub const PCM_SD15_8STEPS: Self = Self {
        name: "pcm-sd15-8steps",
        files: &[lora("pcm_sd15_smallcfg_8step")],
        steps: Allowed::only(8),
        ..PCM
    };
    /// PCM's 16-step LoRA for Stable Diffusion 1.5.
    pub const PCM_SD15_16STEPS: Self = Self {
        name: "pcm-sd15-16steps",
        files: &[lora("pcm_sd15_smallcfg_16step")],
        steps: Allowed::only(16),
        ..PCM
    };
    /// PCM's 4-step LoRA with guidance for Stable Diffusion 1.5.
    pub const PCM_SD15_4STEPS_CFG: Self = Self {
        name: "pcm-sd15-4steps-cfg",
        files: &[lora("pcm_sd15_normalcfg_4step")],
        steps: Allowed::only(4),
        ..PCM_CFG
    };
    /// PCM's 8-step LoRA with guidance for Stable Diffusion 1.5.
    pub const PCM_SD15_8STEPS_CFG: Self = Self {
        name: "pcm-sd15-8steps-cfg",
        files: &[lora("pcm_sd15_normalcfg_8step")],
        steps: Allowed::only(8),
        ..PCM_CFG
    };
    /// PCM's 16-step LoRA with guidance for Stable Diffusion 1.5.
    pub const PCM_SD15_16STEPS_CFG: Self = Self {
        name: "pcm-sd15-16steps-cfg",
        files: &[lora("pcm_sd15_normalcfg_16step")],
        steps: Allowed::only(16),
        ..PCM_CFG
    };
    /// PCM's LoRA for Stable Diffusion 1.5 that is used as LCM-LoRAs are.
    pub const PCM_SD15_LCMLIKE: Self =
        Self { name: "pcm-sd15-lcmlike", files: &[lora("pcm_sd15_lcmlike_lora")], ..PCM_LCM };
    /// PCM's 2-step LoRA for SDXL.
    pub const PCM_SDXL_2STEPS: Self = Self {
        name: "pcm-sdxl-2steps",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_smallcfg_2step")],
        steps: Allowed::only(2),
        ..PCM
    };
    /// PCM's 4-step LoRA for SDXL.
    pub const PCM_SDXL_4STEPS: Self = Self {
        name: "pcm-sdxl-4steps",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_smallcfg_4step")],
        steps: Allowed::only(4),
        ..PCM
    };
    /// PCM's 8-step LoRA for SDXL.
    pub const PCM_SDXL_8STEPS: Self = Self {
        name: "pcm-sdxl-8steps",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_smallcfg_8step")],
        steps: Allowed::only(8),
        ..PCM
    };
    /// PCM's 16-step LoRA for SDXL.
    pub const PCM_SDXL_16STEPS: Self = Self {
        name: "pcm-sdxl-16steps",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_smallcfg_16step")],
        steps: Allowed::only(16),
        ..PCM
    };
    /// PCM's 4-step LoRA with guidance for SDXL.
    pub const PCM_SDXL_4STEPS_CFG: Self = Self {
        name: "pcm-sdxl-4steps-cfg",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_normalcfg_4step")],
        steps: Allowed::only(4),
        ..PCM_CFG
    };
    /// PCM's 8-step LoRA with guidance for SDXL.
    pub const PCM_SDXL_8STEPS_CFG: Self = Self {
        name: "pcm-sdxl-8steps-cfg",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_normalcfg_8step")],
        steps: Allowed::only(8),
        ..PCM_CFG
    };
    /// PCM's 16-step LoRA with guidance for SDXL.
    pub const PCM_SDXL_16STEPS_CFG: Self = Self {
        name: "pcm-sdxl-16steps-cfg",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_normalcfg_16step")],
        steps: Allowed::only(16),
        ..PCM_CFG
    };
    /// PCM's LoRA for SDXL that is used as LCM-LoRAs are.
    pub const PCM_SDXL_LCMLIKE: Self = Self {
        name: "pcm-sdxl-lcmlike",
        family: Family::Sdxl,
        files: &[lora("pcm_sdxl_lcmlike_lora")],
        ..PCM_LCM
    };
}
