//! Weight files, host tensors, torch-exact noise and images for hypersd.

mod error;
mod host;
mod image;
mod noise;
mod source;

pub use error::{Error, Mismatch};
pub use host::{Dtype, HostData, HostTensor, TensorInfo};
pub use image::{Image, PixelRange};
pub use noise::{Noise, Rng};
pub use source::{SharedSource, TensorSource};
