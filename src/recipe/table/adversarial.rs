//! SDXL-Lightning, of ByteDance, and the Turbo models of Stability AI.

use hypersd_core::Family;
use hypersd_schedulers::Algorithm;

use super::{hyper_sd::HYPER_N_STEPS, licence, lora, model, unet};
use crate::recipe::{Allowed, Recipe};

const LIGHTNING: &str = "https://huggingface.co/ByteDance/SDXL-Lightning";

/// SDXL-Lightning for a fixed number of steps.
const LIGHTNING_N_STEPS: Recipe = Recipe {
    family: Family::Sdxl,
    scheduler: Algorithm::Euler,
    eta: None,
    licence: licence("Open RAIL++-M", "https://huggingface.co/ByteDance/SDXL-Lightning/blob/main/LICENSE.md"),
    source: LIGHTNING,
    ..HYPER_N_STEPS
};

/// Adversarial diffusion distillation: 1 to 4 steps.
const TURBO: Recipe = Recipe {
    steps: Allowed { least: 1, most: 4, default: 1 },
    size: Some(512),
    licence: None,
    ..LIGHTNING_N_STEPS
};

impl Recipe {
    /// SDXL-Lightning for 2 steps.
    pub const SDXL_LIGHTNING_2STEPS: Self = Self {
        name: "sdxl-lightning-2steps",
        files: &[
            lora("sdxl_lightning_2step_lora"),
            unet("sdxl_lightning_2step_unet"),
            model("sdxl_lightning_2step"),
        ],
        steps: Allowed::only(2),
        ..LIGHTNING_N_STEPS
    };
    /// SDXL-Lightning for 4 steps.
    pub const SDXL_LIGHTNING_4STEPS: Self = Self {
        name: "sdxl-lightning-4steps",
        files: &[
            lora("sdxl_lightning_4step_lora"),
            unet("sdxl_lightning_4step_unet"),
            model("sdxl_lightning_4step"),
        ],
        steps: Allowed::only(4),
        ..LIGHTNING_N_STEPS
    };
    /// SDXL-Lightning for 8 steps.
    pub const SDXL_LIGHTNING_8STEPS: Self = Self {
        name: "sdxl-lightning-8steps",
        files: &[
            lora("sdxl_lightning_8step_lora"),
            unet("sdxl_lightning_8step_unet"),
            model("sdxl_lightning_8step"),
        ],
        steps: Allowed::only(8),
        ..LIGHTNING_N_STEPS
    };
    /// SDXL-Turbo, in one step unless said otherwise. The scheduler is that of its own `scheduler_config.json`.
    pub const SDXL_TURBO: Self = Self {
        name: "sdxl-turbo",
        files: &[model("sdxl-turbo"), model("sd_xl_turbo_1.0")],
        scheduler: Algorithm::EulerAncestral,
        licence: licence(
            "sai-nc-community",
            "https://huggingface.co/stabilityai/sdxl-turbo/blob/main/LICENSE.md",
        ),
        source: "https://huggingface.co/stabilityai/sdxl-turbo",
        ..TURBO
    };
    /// SD-Turbo, distilled from Stable Diffusion 2.1, in one step unless said otherwise. The scheduler is that of
    /// its own `scheduler_config.json`.
    pub const SD_TURBO: Self = Self {
        name: "sd-turbo",
        family: Family::Sd2,
        files: &[model("sd-turbo"), model("sd_turbo")],
        source: "https://huggingface.co/stabilityai/sd-turbo",
        ..TURBO
    };
}
