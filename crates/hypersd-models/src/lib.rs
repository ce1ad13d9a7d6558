//! The Stable Diffusion networks on Burn: CLIP text encoders, UNet, VAE, TAESD.

mod error;
mod layers;
mod parameters;

pub mod clip;
pub mod ops;
pub mod tiny_vae;
pub mod unet;
pub mod vae;

pub use error::Error;
pub use parameters::parameters;
