//! ControlNet: the encoder half of a UNet with a picture as its second input (Zhang et al. 2023, arXiv:2302.05543).
//!
//! A [`ControlNet`] answers with [`Residuals`](crate::unet::Residuals), which the UNet adds to its skips and to its
//! middle: the picture then decides the composition and the prompt decides the rest. It sees the picture as a [`Hint`],
//! which is made once and serves every step.

mod config;
mod hint;
mod model;
mod scale;

pub use config::{ChannelOrder, ControlNetConfig};
pub use hint::Hint;
pub use model::ControlNet;
pub use scale::ResidualScale;
