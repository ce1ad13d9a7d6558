//! ControlNet for Stable Diffusion 1.5 and SDXL on Burn.
//!
//! A ControlNet is the encoder half of a UNet with a picture as its second input. It answers with
//! [`Residuals`](hypersd_models::unet::Residuals): what is added to the UNet's skips and to its middle, so that the
//! picture decides the composition and the prompt decides the rest.
//!
//! This crate will hold that network and the preprocessors of its input (Canny). It has neither yet: so far it
//! defines the error type that they report with. Nothing here is used by the `hypersd` facade.

/// What can go wrong while preparing a ControlNet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files of the network.
    #[error(transparent)]
    Weights(#[from] hypersd_core::Error),
}
