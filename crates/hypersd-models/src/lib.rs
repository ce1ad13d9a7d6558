//! The Stable Diffusion networks on Burn: CLIP text encoders, UNet, ControlNet, VAE, TAESD.
//!
//! A prompt becomes token ids, these become a [`Conditioning`](unet::Conditioning), under which the
//! [`UNet`](unet::UNet) predicts the noise in latents; the [VAE](vae) or the [tiny one](tiny_vae) turns
//! latents into pictures and back. One network of each kind serves SD1.5 and SDXL: a configuration, read from
//! diffusers' `config.json`, tells them apart.
//!
//! | module | from | to |
//! |---|---|---|
//! | [`clip`] | text | ids `[B, 77]` → states `[B, 77, 768]` |
//! | [`unet`] | latents `[B, 4, H/8, W/8]`, timestep, conditioning | noise, of the same shape |
//! | [`controlnet`] | the same, and a control image | what the UNet adds to its skips and its middle |
//! | [`vae`], [`tiny_vae`] | latents `[B, 4, H/8, W/8]` | image `[B, 3, H, W]` in [-1, 1], and back |
//! | [`SingleFile`] | a checkpoint in one file | configurations and weights of its networks |
//! | [`keys`] | | the names of other dialects |
//!
//! Fields are called as in diffusers, so that [`hypersd_core::load`] fills a network from a weight file by name. A
//! network knows nothing of schedulers or LoRA, and computes in the type and on the device of its weights.
//!
//! ```no_run
//! use burn::tensor::{Device, FloatDType, Tensor};
//! use hypersd_core::{LoadOptions, SafetensorsFile, load};
//! use hypersd_models::unet::{Conditioning, Context, UNet, UNetConfig};
//!
//! let device = Device::default();
//! let weights = SafetensorsFile::open("stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors")?;
//! let options = LoadOptions { device: device.clone(), dtype: FloatDType::F32, ignore: &[] };
//! let unet = load(UNet::new(&UNetConfig::sd15(), &device)?, &weights, &options)?;
//!
//! let x = Tensor::<4>::zeros([1, 4, 64, 64], &device);
//! let states = Tensor::<3>::zeros([1, 77, 768], &device); // of a prompt
//! let conditioning = Conditioning::new(Context::text(states));
//! let eps = unet.forward(x, &[999.0], &conditioning, None)?;
//! assert_eq!(eps.dims(), [1, 4, 64, 64]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backend;
mod error;
mod family;
mod infer;
mod layers;
mod parameters;
mod single_file;
mod weights;
mod working_memory;

pub mod clip;
pub mod controlnet;
pub mod keys;
#[doc(hidden)] // public only for the test program that compares every operation of a GPU with the CPU's
pub mod ops;
pub mod tiny_vae;
pub mod unet;
pub mod vae;

pub use backend::{activation_dtype, is_cpu};
pub use error::Error;
pub use family::{Heads, Numbers, Prediction, Profile, State, TextProfile};
pub use ops::{held_memory, release_memory};
pub use parameters::parameters;
pub use single_file::{IGNORED, Ignored, Part, SingleFile};
pub use weights::{multiplies, multiply_in};
