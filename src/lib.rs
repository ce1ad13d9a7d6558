#![doc = include_str!("../README.md")]

#[cfg(feature = "_gpu")]
pub mod cache;
pub mod device;
mod digest;
mod draw;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
mod loras;
mod network;
mod notice;
mod open;
mod pipeline;
mod provenance;
mod recipe;
mod reference;
mod request;

pub use burn::{
    self,
    tensor::{Device, FloatDType, Tensor},
};
pub use hypersd_controlnet::{Canny, Strength};
pub use hypersd_core::{
    ByteSource, Dtype, Error as CoreError, Family, FileTree, Image, ImageError, Location, Mismatch, Reader,
    Rng, TextChunk,
};
pub use hypersd_lora::{
    Applied, Error as LoraError, LoraReport, MadeFor, Reason, Unmatched, Weights as LoraWeights, WrongShape,
};
pub use hypersd_models::Error as ModelError;
pub use hypersd_schedulers::{Algorithm, Error as SchedulerError, PredictionType, Spacing, Steps};

pub use draw::{Control, Denoised, Denoising, Edited};
pub use error::Error;
pub use notice::Notice;
pub use open::PipelineBuilder;
pub use pipeline::{Pipeline, save_latents};
pub use provenance::{Hashing, Provenance, WeightFile, WeightPart};
pub use recipe::{Allowed, Licence, Published, Recipe, RecipeError, Role};
pub use reference::HubReference;
pub use request::Request;
