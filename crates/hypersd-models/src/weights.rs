//! The holders of weights: dense layers and convolutions, as the operations take them.
//!
//! Nobody but the operations looks into a [`Weight`]: in which order and which type its numbers lie is its own affair, and
//! another way to store them is one variant more.

mod conv;
mod dense;
#[cfg(feature = "flex")]
mod int8;
mod products;
mod weight;

pub use conv::Conv2d;
pub use dense::Linear;
#[cfg(feature = "flex")]
pub(crate) use int8::Int8;
pub use products::{multiplies, multiply_in};
#[cfg(feature = "flex")]
pub(crate) use weight::Form;
pub(crate) use weight::Weight;

use burn::{
    module::Param,
    nn::Initializer,
    tensor::{Device, Tensor},
};

/// A bias of so many numbers, to be loaded.
fn bias(outputs: usize, device: &Device) -> Param<Tensor<1>> {
    Initializer::Zeros.init([outputs], device)
}
