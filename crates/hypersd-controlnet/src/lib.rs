//! Control images and strengths for the ControlNets of Stable Diffusion 1.5 and SDXL, on Burn.
//!
//! The network itself stands in [`hypersd_models::controlnet`], beside the UNet whose first half it is, and can be named
//! from here as well. This crate has the rest: Canny, which draws edge maps, the way from a control image to the network's
//! pixels, and the steps in which the network guides.
//!
//! | item | from | to |
//! |---|---|---|
//! | [`Canny`] | photograph | edge map, equal to OpenCV's to the bit |
//! | [`control_pixels`] | control image, size of the picture | pixels `[1, 3, H, W]` in [0, 1] |
//! | [`ControlNet::hint`] | pixels | [`Hint`] `[B, C, H/8, W/8]`, once for a picture |
//! | [`Strength`] | step | whether it is guided, and the [`ResidualScale`] |
//! | [`ControlNet::forward`] | latents, timestep, prompt, hint, scale | residuals, at every step |
//! | [`after_zeros`] | residuals of the prompt | those of a guided batch in guess mode |
//!
//! The control image is what the network was trained on: an edge map for Canny, a depth map for depth. A photograph
//! cannot be told from one, so nothing stops you from passing it, and the pictures will be poor.
//!
//! ```no_run
//! use burn::tensor::{Device, FloatDType, Tensor};
//! use hypersd_controlnet::{Canny, ControlNet, ControlNetConfig, Strength, control_pixels};
//! use hypersd_core::{Image, LoadOptions, SafetensorsFile, load};
//! use hypersd_models::unet::{Conditioning, Context};
//!
//! let device = Device::default();
//! let weights = SafetensorsFile::open("control_v11p_sd15_canny/diffusion_pytorch_model.safetensors")?;
//! let options = LoadOptions { device: device.clone(), dtype: FloatDType::F32, ignore: &[] };
//! let controlnet = load(ControlNet::new(&ControlNetConfig::sd15(), &device)?, &weights, &options)?;
//!
//! let edges = Canny::default().edges(&Image::open("bird.png")?)?;
//! let hint = controlnet.hint(control_pixels(&edges, [512, 512], &device)?)?;
//!
//! let x = Tensor::<4>::zeros([1, 4, 64, 64], &device);
//! let states = Tensor::<3>::zeros([1, 77, 768], &device); // of a prompt
//! let conditioning = Conditioning::new(Context::text(states));
//! let strength = Strength { scale: 0.5, ..Strength::default() };
//! let residuals = controlnet.forward(x, &[999.0], &conditioning, &hint, strength.residual_scale())?;
//! assert_eq!(residuals.down.len(), 12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canny;
mod pixels;
mod strength;

pub use canny::Canny;
pub use hypersd_models::controlnet::{ChannelOrder, ControlNet, ControlNetConfig, Hint, ResidualScale};
pub use pixels::{control_pixels, control_size};
pub use strength::{Strength, after_zeros};

/// An argument that cannot be right.
fn argument(
    argument: &'static str,
    expected: impl Into<String>,
    found: impl ToString,
) -> hypersd_core::Error {
    hypersd_core::Error::Argument { argument, expected: expected.into(), found: found.to_string() }
}
