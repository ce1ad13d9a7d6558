#![doc = include_str!("../README.md")]

#[cfg(feature = "_gpu")]
pub mod cache;
mod checkpoint;
mod control;
mod decoder;
mod denoise;
pub mod device;
mod digest;
mod error;
mod folder;
mod guidance;
#[cfg(feature = "hub")]
pub mod hub;
mod latents;
mod locate;
mod loras;
mod network;
mod notice;
mod open;
mod part;
mod pipeline;
mod prompt;
mod provenance;
mod recipe;
mod request;
mod sampling;
mod size;

pub use burn::tensor::{Device, FloatDType, Tensor};
pub use hypersd_controlnet::{Canny, Strength};
pub use hypersd_core::{Embedded, Family, Image, Location, Rng, TextChunk};
pub use hypersd_lora::{
    Applied, Error as LoraError, LoraReport, MadeFor, Reason, Unmatched, Weights as LoraWeights, WrongShape,
};
pub use hypersd_schedulers::{Algorithm, Spacing, Steps};

pub use control::Control;
pub use denoise::{Denoised, Denoising};
pub use error::Error;
pub use locate::HubReference;
pub use notice::Notice;
pub use open::PipelineBuilder;
pub use pipeline::{Pipeline, save_latents};
pub use provenance::{Hashing, Provenance, WeightFile, WeightPart};
pub use recipe::{Allowed, Published, Recipe, RecipeError, Role};
pub use request::Request;
