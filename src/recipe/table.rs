//! The table: what few-step files are published with, one row each.
//!
//! What the rows of a kind share stands above them as a row without a name. A row is here only if its publisher
//! says what it holds. Left out for that reason, or because a [`Request`](crate::Request) cannot say it: SDXL-Lightning
//! in one step (experimental, and its UNet predicts the sample instead of the noise) and the LoRAs of Hyper-SD for
//! other families.

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, Spacing};

use super::{Allowed, Published, Recipe, Role};

const HYPER_SD: &str = "https://huggingface.co/ByteDance/Hyper-SD";
const LIGHTNING: &str = "https://huggingface.co/ByteDance/SDXL-Lightning";

/// Distilled with the guidance inside: asked for more, the picture burns.
const NO_GUIDANCE: Allowed<f64> = Allowed::only(0.0);

/// A LoRA of Hyper-SD for a fixed number of steps. The trajectory was distilled in segments that end at the
/// timesteps of trailing spacing, and followed without noise: eta is 0.
const HYPER_N_STEPS: Recipe = Recipe {
    name: "",
    family: Family::Sd1,
    files: &[],
    scheduler: Algorithm::Ddim,
    spacing: Some(Spacing::Trailing),
    steps: Allowed::only(0),
    timesteps: None,
    eta: Some(Allowed::only(0.0)),
    guidance: NO_GUIDANCE,
    source: HYPER_SD,
};

/// The same, distilled so that it still answers to guidance and negative prompts. The publisher gives the range.
const HYPER_CFG: Recipe =
    Recipe { guidance: Allowed { least: 5.0, most: 8.0, default: 5.0 }, ..HYPER_N_STEPS };

/// The LoRA for any number of steps up to eight. The publisher's eta is 1, less for more detail in several steps.
const HYPER_UNIFIED: Recipe = Recipe {
    scheduler: Algorithm::Tcd,
    spacing: None,
    steps: Allowed { least: 1, most: 8, default: 1 },
    eta: Some(Allowed { least: 0.0, most: 1.0, default: 1.0 }),
    ..HYPER_N_STEPS
};

/// The LoRA of latent consistency models: 2 to 8 steps, guidance off or up to 2.
const LCM_LORA: Recipe = Recipe {
    scheduler: Algorithm::Lcm,
    spacing: None,
    steps: Allowed { least: 2, most: 8, default: 4 },
    eta: None,
    guidance: Allowed { least: 0.0, most: 2.0, default: 0.0 },
    ..HYPER_N_STEPS
};

/// SDXL-Lightning for a fixed number of steps.
const LIGHTNING_N_STEPS: Recipe = Recipe {
    family: Family::Sdxl,
    scheduler: Algorithm::Euler,
    eta: None,
    source: LIGHTNING,
    ..HYPER_N_STEPS
};

/// Adversarial diffusion distillation: 1 to 4 steps.
const TURBO: Recipe = Recipe { steps: Allowed { least: 1, most: 4, default: 1 }, ..LIGHTNING_N_STEPS };

const fn lora(name: &'static str) -> Published {
    Published { role: Role::Lora, name }
}

const fn unet(name: &'static str) -> Published {
    Published { role: Role::UNet, name }
}

const fn model(name: &'static str) -> Published {
    Published { role: Role::Model, name }
}

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
    ];
}
