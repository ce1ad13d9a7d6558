//! Latents and images: the variational autoencoder of Stable Diffusion (`AutoencoderKL`).

mod config;
mod decoder;
mod encoder;
mod mid;
mod model;
mod tiling;

pub use config::VaeConfig;
pub use model::{Moments, Vae};
