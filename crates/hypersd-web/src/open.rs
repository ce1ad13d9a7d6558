//! Opening a model: the options, and what they ask of the library.

use hypersd::{Device, Error, FloatDType, Recipe};
use serde::Deserialize;

use crate::files::Files;

/// How a model is opened; `OpenOptions` of `types.ts`. Paths are among the files.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OpenOptions {
    model: String,
    unet: Option<String>,
    vae: Option<String>,
    loras: Vec<LoraOption>,
    controlnets: Vec<String>,
    variant: Option<String>,
    dtype: Kept,
    low_memory: bool,
    lenient: bool,
    recipe: Option<String>,
}

/// A LoRA with its weight.
#[derive(Debug, Deserialize)]
struct LoraOption {
    path: String,
    #[serde(default = "whole")]
    weight: f32,
}

fn whole() -> f32 {
    1.0
}

/// The type that weights are kept in.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    #[default]
    F32,
    F16,
    Bf16,
}

/// A loaded model with the recipe that requests leave things to.
pub(crate) struct Opened {
    pub(crate) pipeline: hypersd::Pipeline,
    pub(crate) recipe: Option<Recipe>,
    pub(crate) controlnets: usize,
    pub(crate) family: hypersd::Family,
}

impl OpenOptions {
    /// Opens and loads a model.
    pub(crate) fn open(&self, files: &Files) -> Result<Opened, Error> {
        let recipe = self.recipe.as_deref().map(str::parse).transpose()?;
        let mut builder = hypersd::Pipeline::open(files.at(&self.model))?;
        if let Some(path) = &self.unet {
            builder = builder.unet(files.at(path))?;
        }
        if let Some(path) = &self.vae {
            builder = builder.vae(files.at(path))?;
        }
        for LoraOption { path, weight } in &self.loras {
            builder = builder.lora(files.at(path), *weight)?;
        }
        for path in &self.controlnets {
            builder = builder.controlnet(files.at(path))?;
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        if self.low_memory {
            builder = builder.low_memory();
        }
        if self.lenient {
            builder = builder.lenient();
        }
        let family = builder.family();
        let pipeline = builder.dtype(self.dtype.float()).load(&Device::flex())?;
        Ok(Opened { pipeline, recipe, controlnets: self.controlnets.len(), family })
    }
}

impl Kept {
    fn float(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }
}
