//! The table: what few-step files are published with, one row each.
//!
//! What the rows of a kind share stands above them as a row without a name. A row is here only if its publisher
//! says what it holds. Left out for that reason, or because hypersd does not run it: see `docs/recipes.md`.

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, PredictionType, Spacing};

use super::{Allowed, Licence, Published, Recipe, Role};

const HYPER_SD: &str = "https://huggingface.co/ByteDance/Hyper-SD";
const LIGHTNING: &str = "https://huggingface.co/ByteDance/SDXL-Lightning";

const fn licence(name: &'static str, link: &'static str) -> Option<Licence> {
    Some(Licence { name, link })
}

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
    licence: None,
    ..HYPER_N_STEPS
};

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

/// One of the consistency models: LCM without guidance.
const LCM_N_STEPS: Recipe = Recipe { guidance: NO_GUIDANCE, family: Family::Sdxl, ..LCM_LORA };

/// Distribution matching distillation, of which 4 steps are at timesteps of their own.
const DMD2: Recipe = Recipe {
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

/// Piecewise rectified flow, which heeds guidance and negative prompts.
const PERFLOW: Recipe = Recipe {
    scheduler: Algorithm::PeRFlow,
    spacing: None,
    steps: Allowed { least: 4, most: 8, default: 8 },
    prediction: Some(PredictionType::DiffEps),
    eta: None,
    guidance: Allowed { least: 4.5, most: 7.5, default: 7.5 },
    licence: None,
    source: "https://github.com/magic-research/piecewise-rectified-flow",
    ..HYPER_N_STEPS
};

/// Flash Diffusion: 4 steps of LCM.
const FLASH: Recipe = Recipe {
    steps: Allowed::only(4),
    licence: licence("CC BY-NC 4.0", "https://github.com/gojasper/flash-diffusion#license"),
    source: "https://github.com/gojasper/flash-diffusion",
    ..LCM_N_STEPS
};

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
    /// PeRFlow for Stable Diffusion 1.5.
    pub const PERFLOW_SD15: Self = Self {
        name: "perflow-sd15",
        files: &[difference("perflow-sd15-delta-weights"), model("perflow-sd15-dreamshaper")],
        ..PERFLOW
    };
    /// PeRFlow for SDXL.
    pub const PERFLOW_SDXL: Self = Self {
        name: "perflow-sdxl",
        family: Family::Sdxl,
        files: &[model("perflow-sdxl-base"), model("perflow-sdxl-dreamshaper")],
        steps: Allowed { least: 4, most: 50, default: 6 },
        prediction: Some(PredictionType::DdimEps),
        guidance: Allowed { least: 1.5, most: 2.5, default: 2.0 },
        ..PERFLOW
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
    /// Merges of SDXL with an LCM-LoRA or the like.
    pub const SDXL_MERGE_LCM: Self = Self {
        name: "sdxl-merge-lcm",
        steps: Allowed { least: 4, most: 8, default: 4 },
        guidance: Allowed { least: 0.0, most: 2.0, default: 0.0 },
        source: "https://github.com/xororz/local-dream/issues/148",
        ..LCM_N_STEPS
    };
    /// Merges of SDXL with DMD2, which may also be added as a LoRA.
    pub const SDXL_MERGE_DMD2: Self = Self {
        name: "sdxl-merge-dmd2",
        steps: Allowed { least: 4, most: 8, default: 4 },
        guidance: Allowed { least: 0.0, most: 1.8, default: 0.0 },
        lora_weight: Some(Allowed { least: 0.7, most: 1.0, default: 1.0 }),
        licence: DMD2.licence,
        source: "https://civitai.com/models/1608870",
        ..LCM_N_STEPS
    };
    /// Merges of SDXL with Turbo or Lightning that are made for DPM++ SDE Karras.
    pub const SDXL_MERGE_DPMPP_SDE: Self = Self {
        name: "sdxl-merge-dpmpp-sde",
        scheduler: Algorithm::DpmppSde,
        steps: Allowed { least: 4, most: 8, default: 6 },
        karras: Some(true),
        guidance: Allowed { least: 1.5, most: 2.0, default: 2.0 },
        source: "https://civitai.com/models/350352",
        ..LCM_N_STEPS
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
