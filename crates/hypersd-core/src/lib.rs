//! Weight files, host tensors, torch-exact noise and images for [hypersd](https://docs.rs/hypersd).
//!
//! What every other crate of the workspace needs and nothing that knows a model or an algorithm:
//!
//! - **Weights** are a stack of sources. A [`TensorSource`] has names and gives tensors: a
//!   [`WeightFile`] is one (safetensors, GGUF, or what PyTorch saves), its shards ([`ShardedFile`]) are one, and so is a
//!   source over another, under other names ([`Renamed`]) or with something merged in. [`ModelFolder`] finds the files of a saved pipeline.
//! - **Files** are on disk or wherever else their bytes come from: every path is a [`Location`], and so is a place in a
//!   [`FileTree`], whose files are in the program, in memory, or read by ranges from a [`ByteSource`].
//! - **[`load`]** puts any source into any network that shows its parameters ([`Slots`]), strictly: all that does not fit
//!   is one [`Mismatch`].
//! - **[`Noise`]** gives the numbers that torch's generators give for a seed.
//! - **[`Image`]** reads, resizes and writes RGB pictures with the rounding of Pillow and diffusers.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::{Device, FloatDType}};
//! use hypersd_core::{HostTensor, LoadOptions, MemorySource, load};
//!
//! let device = Device::flex();
//! let options = LoadOptions { device: device.clone(), dtype: FloatDType::F32, ignore: &[] };
//! let layer = || LinearConfig::new(2, 1).with_bias(false).init(&device);
//!
//! // A file keeps the matrix of a linear layer as [out, in], Burn as [in, out].
//! let file = |name: &str| -> MemorySource {
//!     [(name.to_string(), HostTensor::from_f32([1, 2], vec![0.5, -1.0]))].into_iter().collect()
//! };
//! let loaded = load(layer(), &file("weight"), &options)?;
//! assert_eq!(loaded.weight.val().dims(), [2, 1]);
//!
//! // Nothing is left to chance: a name that does not fit is an error that says which was meant.
//! let error = load(layer(), &file("weights"), &options).unwrap_err();
//! assert!(error.to_string().contains("weight (nearest: weights)"));
//! # Ok::<(), hypersd_core::Error>(())
//! ```
//!
//! The folder of a model gives the same sources:
//!
//! ```no_run
//! use hypersd_core::{ModelFolder, TensorSource, Variant};
//!
//! let model = ModelFolder::open("stable-diffusion-v1-5")?;
//! if let Some(unet) = model.component("unet")? {
//!     let config: serde_json::Value = unet.config()?;
//!     let weights = unet.weights(&Variant::Named("fp16".to_string()))?;
//!     assert!(weights.info("conv_in.weight").is_some(), "{config}");
//! }
//! # Ok::<(), hypersd_core::Error>(())
//! ```

mod available;
mod bytes;
mod cursor;
mod destination;
mod difference;
mod error;
mod family;
mod file;
mod folder;
mod gguf;
mod host;
mod image;
mod joined;
mod json;
mod load;
mod location;
mod memory;
mod names;
mod noise;
mod numbers;
mod pickle;
mod renamed;
mod scaled;
mod sharded;
mod source;
mod view;
mod weight_file;
mod write;

pub use available::available_memory;
pub use bytes::ByteSource;
pub use destination::Destination;
pub use difference::WithDifference;
pub use error::{Error, ImageError, Mismatch};
pub use family::Family;
pub use file::SafetensorsFile;
pub use folder::{Component, ModelFolder, Variant};
pub use host::{Dtype, HostData, HostTensor, TensorInfo};
pub use image::{Image, PixelRange, Region, TextChunk};
pub use joined::Joined;
pub use json::plain as plain_json_error;
pub use load::{
    InOrder, Interleaved, Layout, LoadOptions, Products, Slot, SlotList, Slots, check, load, reload,
};
pub use location::{FileTree, Location, Reader};
pub use memory::MemorySource;
pub use names::matches as name_matches;
pub use noise::{Noise, Rng};
pub use renamed::Renamed;
pub use sharded::ShardedFile;
pub use source::{SharedSource, TensorSource};
pub use view::View;
pub use weight_file::WeightFile;
pub use write::save_safetensors;
