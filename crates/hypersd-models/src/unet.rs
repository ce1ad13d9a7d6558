//! The UNet of Stable Diffusion: one network, made SD1.5 or SDXL by its configuration.

pub(crate) mod blocks;
pub(crate) mod condition;
mod config;
mod model;
mod per_level;
mod residuals;

pub use crate::layers::context::Context;
pub use condition::Conditioning;
pub use config::UNetConfig;
pub use model::UNet;
pub use per_level::PerLevel;
pub use residuals::Residuals;
