//! The table: what few-step files are published with, one row each, in a file for each kind.
//!
//! What the rows of a kind share stands above them as a row without a name. A row is here only if its publisher
//! says what it holds. Left out for that reason, or because hypersd does not run it: see `docs/recipes.md`.

mod adversarial;
mod consistency;
mod hyper_sd;
mod merges;
mod perflow;
mod phased;

use super::{Allowed, Licence, Published, Recipe, Role};

/// Distilled with the guidance inside: asked for more, the picture burns.
const NO_GUIDANCE: Allowed<f64> = Allowed::only(0.0);

const fn licence(name: &'static str, link: &'static str) -> Option<Licence> {
    Some(Licence { name, link })
}

const fn lora(name: &'static str) -> Published {
    Published { role: Role::Lora, name }
}

const fn difference(name: &'static str) -> Published {
    Published { role: Role::Difference, name }
}

const fn unet(name: &'static str) -> Published {
    Published { role: Role::UNet, name }
}

const fn model(name: &'static str) -> Published {
    Published { role: Role::Model, name }
}

impl Recipe {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::HYPER_SD15_2STEPS,
        Self::HYPER_SD15_4STEPS,
        Self::HYPER_SD15_8STEPS,
        Self::HYPER_SD15_8STEPS_CFG,
        Self::HYPER_SD15_12STEPS_CFG,
        Self::HYPER_SD15_UNIFIED,
        Self::HYPER_SDXL_2STEPS,
        Self::HYPER_SDXL_4STEPS,
        Self::HYPER_SDXL_8STEPS,
        Self::HYPER_SDXL_8STEPS_CFG,
        Self::HYPER_SDXL_12STEPS_CFG,
        Self::HYPER_SDXL_UNIFIED,
        Self::HYPER_SDXL_1STEP_UNET,
        Self::LCM_LORA_SD15,
        Self::LCM_LORA_SDXL,
        Self::SDXL_LIGHTNING_2STEPS,
        Self::SDXL_LIGHTNING_4STEPS,
        Self::SDXL_LIGHTNING_8STEPS,
        Self::SDXL_TURBO,
        Self::SD_TURBO,
        Self::DMD2_SDXL_4STEPS,
        Self::DMD2_SDXL_1STEP_UNET,
        Self::TCD_LORA_SD15,
        Self::TCD_LORA_SD21,
        Self::TCD_LORA_SDXL,
        Self::NITROSD_REALISM,
        Self::NITROSD_VIBRANT,
        Self::PCM_SD15_2STEPS,
        Self::PCM_SD15_4STEPS,
        Self::PCM_SD15_8STEPS,
        Self::PCM_SD15_16STEPS,
        Self::PCM_SD15_4STEPS_CFG,
        Self::PCM_SD15_8STEPS_CFG,
        Self::PCM_SD15_16STEPS_CFG,
        Self::PCM_SD15_LCMLIKE,
        Self::PCM_SDXL_2STEPS,
        Self::PCM_SDXL_4STEPS,
        Self::PCM_SDXL_8STEPS,
        Self::PCM_SDXL_16STEPS,
        Self::PCM_SDXL_4STEPS_CFG,
        Self::PCM_SDXL_8STEPS_CFG,
        Self::PCM_SDXL_16STEPS_CFG,
        Self::PCM_SDXL_LCMLIKE,
        Self::PERFLOW_SD15,
        Self::PERFLOW_SDXL,
        Self::FLASH_SD15,
        Self::FLASH_SDXL,
        Self::SLAM_LORA_SDXL,
        Self::YOSO_SD15,
        Self::SDXL_MERGE_LCM,
        Self::SDXL_MERGE_DMD2,
        Self::SDXL_MERGE_DPMPP_SDE,
    ];
}
