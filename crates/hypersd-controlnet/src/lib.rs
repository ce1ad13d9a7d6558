//! ControlNet for Stable Diffusion 1.5 and SDXL on Burn, and Canny, which draws its edge maps.
//!
//! A [`ControlNet`] is the encoder half of a UNet with a picture as its second input. It answers with
//! [`Residuals`](hypersd_models::unet::Residuals), which the UNet adds to its skips and to its middle: the picture
//! then decides the composition and the prompt decides the rest.
//!
//! | item | from | to |
//! |---|---|---|
//! | [`Canny`] | photograph | edge map, equal to OpenCV's to the bit |
//! | [`ControlNet::hint`] | control image | [`Hint`] `[B, C, H/8, W/8]`, once for a picture |
//! | [`ControlNet::forward`] | latents, timestep, prompt, hint, [`Strength`] | residuals, at every step |
//! | [`after_zeros`] | residuals of the prompt | those of a guided batch in guess mode |
//!
//! The control image is what the network was trained on: an edge map for Canny, a depth map for depth. A photograph
//! cannot be told from one, so nothing stops you from passing it, and the pictures will be poor.
//!
//! ```no_run
//! use burn::tensor::{Device, FloatDType, Tensor};
//! use hypersd_controlnet::{Canny, ControlNet, ControlNetConfig, Strength};
//! use hypersd_core::{Image, LoadOptions, SafetensorsFile, load};
//! use hypersd_models::unet::Conditioning;
//!
//! let device = Device::default();
//! let weights = SafetensorsFile::open("control_v11p_sd15_canny/diffusion_pytorch_model.safetensors")?;
//! let options = LoadOptions { device: device.clone(), dtype: FloatDType::F32, ignore: &[] };
//! let controlnet = load(ControlNet::new(&ControlNetConfig::sd15(), &device)?, &weights, &options)?;
//!
//! let edges = Canny::default().edges(&Image::open("bird.png")?)?;
//! let hint = controlnet.hint(&edges, [512, 512])?;
//!
//! let x = Tensor::<4>::zeros([1, 4, 64, 64], &device);
//! let context = Tensor::<3>::zeros([1, 77, 768], &device); // the states of a prompt
//! let conditioning = Conditioning { context, pooled: None, time_ids: None };
//! let strength = Strength { scale: 0.5, ..Strength::default() };
//! let residuals = controlnet.forward(x, &[999.0], &conditioning, &hint, &strength)?;
//! assert_eq!(residuals.down.len(), 12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canny;
mod config;
mod error;
mod hint;
mod model;
mod strength;

pub use canny::Canny;
pub use config::{ChannelOrder, ControlNetConfig};
pub use error::Error;
pub use hint::{Hint, control_size};
pub use model::ControlNet;
pub use strength::{Strength, after_zeros};
