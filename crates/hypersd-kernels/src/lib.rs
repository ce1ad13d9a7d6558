//! Fast f32 CPU kernels for diffusion models, over plain slices.

mod attention;
mod conv;
mod elementwise;
mod gemm;
mod linear;
mod math;
mod norm;
mod output;
mod pack;
mod planes;
mod scratch;
mod simd;
mod weights;

pub use attention::{AttentionShape, HeadLayout, attention};
pub use conv::{ConvShape, Epilogue, Padding, conv2d};
pub use elementwise::{Activation, activate_in_place, geglu};
pub use linear::{LinearShape, linear};
pub use norm::{Affine, group_norm, group_norm_in_place, layer_norm};
pub use planes::Planes;
pub use scratch::release_scratch;
pub use simd::instruction_set;
pub use weights::Weights;
