//! LoRA files and their merge arithmetic, by weight name, with exact accounting.
//!
//! A LoRA file holds, for many weights `W [out, in]` of a base model, a pair of thin matrices and a number:
//!
//! ```text
//! W' = W + Σ_k weight_k · alpha_k / rank_k · up_k · down_k        up [out, rank], down [rank, in]
//! ```
//!
//! A convolution `[out, in, kh, kw]` is the same with `in · kh · kw` for `in`. [`Form`] and [`Delta`] list what else
//! people have: LoCon, LoHa, LoKr, DoRA, whole differences. Files are read in kohya's naming over diffusers' or
//! Stability's block names, LyCORIS', PEFT's, and those of older diffusers; [`merge`] resolves every module of
//! every file against the names of the base, checks the shapes, and gives back one [`Merged`] per network: a
//! [`TensorSource`](hypersd_core::TensorSource) over the base that computes the sum when a tensor is asked for.
//! Nothing is written anywhere: taking a LoRA away is reading [`Merged::touched`] again from a source without it.
//!
//! ```
//! use std::sync::Arc;
//!
//! use hypersd_core::{HostTensor, MemorySource, TensorSource};
//! use hypersd_lora::{Base, Lora, LoraFile, Strictness, UNET_PREFIX, merge};
//!
//! let base: MemorySource =
//!     [("mid.to_out.0.weight".to_string(), HostTensor::from_f32([2, 3], vec![1.0; 6]))].into_iter().collect();
//! let file: MemorySource = [
//!     ("lora_unet_mid_to_out_0.lora_down.weight".to_string(), HostTensor::from_f32([1, 3], vec![1.0, 2.0, 3.0])),
//!     ("lora_unet_mid_to_out_0.lora_up.weight".to_string(), HostTensor::from_f32([2, 1], vec![10.0, 20.0])),
//!     ("lora_unet_mid_to_out_0.alpha".to_string(), HostTensor::from_f32([], vec![0.5])),
//! ]
//! .into_iter()
//! .collect();
//!
//! let lora = Lora { file: Arc::new(LoraFile::from_source(Arc::new(file))?), weight: 1.0 };
//! let unet = Base { prefix: UNET_PREFIX, family: None, source: Arc::new(base) };
//! let merged = merge(&[unet], &[lora], Strictness::Strict)?;
//!
//! assert_eq!(
//!     merged.reports[0].to_string(),
//!     "tensors in memory: 1 of 1 modules applied\n  unet x 1: 1 LoRA, rank 1, alpha 0.5, scale 0.5"
//! );
//! assert_eq!(*merged.sources[0].tensor("mid.to_out.0.weight")?.to_f32(), [6.0, 11.0, 16.0, 11.0, 21.0, 31.0]);
//! # Ok::<(), hypersd_lora::Error>(())
//! ```
//!
//! The crate knows names, shapes and numbers. It knows no network, no pipeline and no Burn.
//!
//! | module | |
//! |---|---|
//! | `grammar` | which form and module a key of a file belongs to |
//! | `adapter` | what PEFT writes beside the tensors |
//! | `file` | a file as a list of modules |
//! | `form` | what a module does to a weight, one file per form |
//! | `networks`, `weights` | what a network's prefix stands for, and the user's weight for it |
//! | `targets`, `ldm` | module name of a LoRA → module of the base |
//! | `merge` | every module finds its weight, or the report says why not |
//! | `merged`, `sum`, `floats` | the source over the base that answers with the sum |
//! | `report`, `account` | what became of each module, as plain data, and the counting of it |
//! | `family` | which model a file looks made for, for messages |
//! | `error` | what can be wrong with a file, or between it and a base |

mod account;
mod adapter;
mod error;
mod family;
mod file;
mod floats;
mod form;
mod grammar;
mod ldm;
mod merge;
mod merged;
mod networks;
mod report;
mod sum;
mod targets;
mod weights;

pub use error::{Error, WrongShape};
pub use family::MadeFor;
pub use file::{LoraFile, Module};
pub use form::{Delta, Dora, Form, Full, GLora, Ia3, LoHa, LoKr, LowRank, Oft};
pub use merge::{Lora, Merge, Strictness, merge};
pub use merged::Merged;
pub use networks::UNET_PREFIX;
pub use report::{Applied, LoraReport, Reason, Unmatched};
pub use targets::Base;
pub use weights::Weights;
