//! Weight files, host tensors, torch-exact noise and images for hypersd.

mod error;
mod file;
mod folder;
mod host;
mod image;
mod json;
mod load;
mod memory;
mod names;
mod noise;
mod renamed;
mod sharded;
mod source;

pub use error::{Error, Mismatch};
pub use file::SafetensorsFile;
pub use folder::{Component, ModelFolder, Variant};
pub use host::{Dtype, HostData, HostTensor, TensorInfo};
pub use image::{Image, PixelRange};
pub use load::{LoadOptions, load, reload};
pub use memory::MemorySource;
pub use noise::{Noise, Rng};
pub use renamed::Renamed;
pub use sharded::ShardedFile;
pub use source::{SharedSource, TensorSource};
