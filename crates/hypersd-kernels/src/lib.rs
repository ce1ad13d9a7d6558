//! Fast CPU kernels for diffusion models, in f32, over plain slices and shapes.
//!
//! The crate knows neither a tensor library nor a network: whoever has contiguous memory can call it.
//!
//! | operation | functions |
//! |---|---|
//! | convolution of any kernel and stride; 3x3 of stride 1 by Winograd's F(4x4, 3x3) and F(2x2, 3x3) | [`conv2d`] |
//! | the same of an image that is doubled first, without doubling it, by Winograd's F(4x4, 2x2) | [`conv2d_doubled`] |
//! | attention without a score matrix, any head width, optionally causal | [`attention`] |
//! | linear layer with bias and residual | [`linear`] |
//! | linear layer whose output is gated | [`linear_geglu`] |
//! | all of these in int8 or bf16 | the same, with [`LayerWeights::Int8`] and [`LayerWeights::Bf16`]; [`attention_bf16`] |
//! | a thin product added to a large matrix | [`low_rank_update`] |
//! | norms, the group norm fused with its activation | [`group_norm`], [`group_norm_in_place`], [`layer_norm`] |
//! | activations | [`activate_in_place`], [`geglu`] |
//! | enlargement | [`resize_nearest`] |
//!
//! ```
//! use hypersd_kernels::{ConvShape, Epilogue, Planes, Weights, conv2d};
//!
//! // One image of 2 channels and 3x3 pixels; one kernel per channel that sums its neighbourhood.
//! let x = [vec![1.0; 9], vec![10.0; 9]].concat();
//! let weights = [1.0; 18];
//! let mut out = Vec::new();
//! let x = Planes::new(&x, [1, 2, 3, 3]);
//! conv2d(x, Weights::F32(&weights), ConvShape::same3x3(1), Epilogue::default(), &mut out);
//! assert_eq!(out, [44.0, 66.0, 44.0, 66.0, 99.0, 66.0, 44.0, 66.0, 44.0]);
//! ```
//!
//! # What holds for all of them
//!
//! - Outputs are `Vec`s that a function overwrites: it never sets them to zero first, and a `Vec` that comes back with
//!   enough capacity is used again. A fresh large allocation can cost more time than the operation.
//! - Weights may be stored in half precision ([`Weights`]); they are widened as they are read. Arithmetic is f32.
//! - Those of linear layers and convolutions may lie in the order in which they are read ([`LayerWeights`]), which changes
//!   no bit of a result.
//! - The instruction set is chosen when the program runs ([`InstructionSet`]). Results differ between instruction sets by
//!   rounding.
//! - Work is shared among the threads of the current rayon pool ([`in_pool`]). How many there are changes no bit of a result.
//! - Working memory is kept for the next call until [`release_scratch`].
//! - NaN and infinities go through as in the formula, except that a Winograd tile carries them to all of its pixels.
//! - A slice of the wrong length is a bug of the caller and panics.

mod attention;
mod conv;
mod elementwise;
mod gemm;
mod linear;
mod math;
mod narrow;
mod norm;
mod operands;
mod output;
mod pack;
mod pages;
mod panel;
mod planes;
mod resample;
mod scratch;
mod simd;
mod update;
mod weights;

pub use attention::{AttentionShape, HeadLayout, attention, attention_bf16};
pub use conv::{ConvShape, Epilogue, Padding, conv2d, conv2d_doubled};
pub use elementwise::{Activation, activate_in_place, geglu};
pub use linear::{LinearShape, linear, linear_geglu};
pub use narrow::{INT8_TERMS, has_bf16_products, int8_panels, int8_panels_read, int8_rows, int8_rows_read};
pub use norm::{Affine, group_norm, group_norm_in_place, layer_norm};
pub use output::in_pool;
pub use panel::PANEL;
pub use planes::Planes;
pub use resample::resize_nearest;
pub use scratch::release_scratch;
pub use simd::{InstructionSet, instruction_set, use_instruction_set};
pub use update::low_rank_update;
pub use weights::{LayerWeights, Weights};
