//! CLIP's text half: prompt → token ids → the states that condition the UNet.
//!
//! One network covers the encoders of every Stable Diffusion: CLIP ViT-L/14 (SD 1.x, SDXL's first), OpenCLIP
//! ViT-H/14 (SD 2.x) and OpenCLIP ViT-bigG/14 (SDXL's second) differ by [`ClipTextConfig`] alone.
//!
//! ```
//! use hypersd_models::clip::Tokenizer;
//!
//! let tokenizer = Tokenizer::clip_l()?;
//! let encoded = tokenizer.encode("a photo of a cat")?;
//! assert_eq!(encoded.ids.len(), 77);
//! assert_eq!(encoded.ids[..7], [49406, 320, 1125, 539, 320, 2368, 49407]);
//! # Ok::<(), hypersd_models::Error>(())
//! ```

mod config;
mod json;
mod keys;
mod special_tokens;
mod text_model;
mod textual_inversion;
mod tokenizer;
mod vocabulary;

pub use config::{ClipTextConfig, HiddenAct};
pub use keys::{IGNORED_TENSORS, canonical_names, ignored_tensors, layers};
pub use text_model::{ClipTextModel, TextStates};
pub use textual_inversion::{TextualInversion, Vectors};
pub use tokenizer::{Encoded, Token, Tokenizer, TokenizerFiles};
