//! The UNet of Stable Diffusion: one network, made SD1.5 or SDXL by its configuration.

mod blocks;
mod condition;
mod config;
mod model;
mod residuals;

pub use crate::layers::timestep::TimestepEmbedding;
pub use blocks::{DownBlock, MidBlock};
pub use condition::{Conditioning, Embedder};
pub use config::{PerLevel, UNetConfig};
pub use model::UNet;
pub use residuals::Residuals;
