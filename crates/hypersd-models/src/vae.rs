//! Latents and images: the variational autoencoder of Stable Diffusion (`AutoencoderKL`), each half a network of its own,
//! for most pictures take one of them only.

mod config;
mod decoder;
mod encoder;
mod latents;
mod mid;
mod tiling;

pub use config::VaeConfig;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use latents::Moments;
