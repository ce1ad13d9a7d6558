#![doc = include_str!("../README.md")]

#[cfg(feature = "_gpu")]
pub mod cache;
pub mod device;
mod digest;
mod draw;
mod embeddings;
mod error;
mod hires;
#[cfg(feature = "hub")]
pub mod hub;
mod live;
mod loras;
mod memory;
mod network;
mod notice;
mod open;
mod pipeline;
mod prompt;
mod provenance;
mod recipe;
mod reference;
mod refine;
mod request;
mod start;

pub use burn::{
    self,
    tensor::{Device, FloatDType, Tensor},
};
pub use hypersd_controlnet::{Canny, Strength};
pub use hypersd_core::{
    ByteSource, Destination, Dtype, Error as CoreError, Family, FileTree, Image, ImageError, Location,
    Mismatch, Products, Reader, Rng, TextChunk,
};
pub use hypersd_lora::{
    Applied, Error as LoraError, LoraReport, MadeFor, Reason, Unmatched, Weights as LoraWeights, WrongShape,
};
pub use hypersd_models::Error as ModelError;
pub use hypersd_schedulers::{Algorithm, Error as SchedulerError, PredictionType, Spacing, Steps};

pub use draw::{Control, Denoised, Denoising, Edited, TokenCount};
pub use error::Error;
pub use hires::Hires;
pub use live::{Inbox, Live, LiveEvent, LivePicture, LiveTimes, Reused, Skipped};
pub use memory::MemoryEstimate;
pub use notice::Notice;
pub use open::PipelineBuilder;
pub use pipeline::{Pipeline, save_latents};
pub use prompt::{Prompt, PromptEmbeds, PromptError};
pub use provenance::{
    Hashing, HiresRecord, MaskRecord, Provenance, RefineRecord, StartRecord, WeightFile, WeightPart,
};
pub use recipe::{Allowed, Licence, Published, Recipe, RecipeError, Role};
pub use reference::HubReference;
pub use refine::Refine;
pub use request::Request;
pub use start::{Border, Mask, Start, StartStrength};
