#![doc = include_str!("../README.md")]

mod decoder;
mod denoise;
mod error;
mod family;
mod guidance;
mod latents;
mod open;
mod pipeline;
mod prompt;
mod recipe;
mod request;
mod sampling;
mod size;

pub use burn::tensor::{Device, FloatDType, Tensor};
pub use hypersd_core::{Image, Rng};
pub use hypersd_lora::{Family, LoraReport};
pub use hypersd_schedulers::{Algorithm, Spacing, Steps};

pub use denoise::{Denoised, Denoising};
pub use error::Error;
pub use open::PipelineBuilder;
pub use pipeline::{Pipeline, save_latents};
pub use recipe::{Allowed, Published, Recipe, RecipeError, Role};
pub use request::Request;
