//! Merges, which are chosen by what they were merged with.

use hypersd_schedulers::Algorithm;

use super::consistency::{DMD2, LCM_N_STEPS};
use crate::recipe::{Allowed, Recipe};

impl Recipe {
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
}
