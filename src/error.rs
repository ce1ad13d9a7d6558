//! Errors between a request and a picture.

use hypersd_core::{Error as Core, ImageError};

use crate::{PromptError, RecipeError, memory::Bytes};

/// A failure between a request and a picture, named by whose fault it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the [`Request`](crate::Request), or an option of the builder, that cannot be right.
    #[error("{option}: expected {expected}, found {found}")]
    Request {
        /// The field.
        option: &'static str,
        /// The values it may have.
        expected: String,
        /// The value it had.
        found: String,
    },
    /// A recipe that there is not, or a request that it was not made for.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A weighted prompt that says more than weights.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A scheduler cannot do what the request asks for.
    #[error(transparent)]
    Scheduler(#[from] hypersd_schedulers::Error),
    /// A configuration or tokenizer file that nothing can be built from.
    #[error("{origin}: {source}")]
    Config {
        /// The component's folder, or the file.
        origin: String,
        /// The fault in it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the model, or one of latents.
    #[error(transparent)]
    Weights(#[from] Core),
    /// A picture: one that cannot be read or written, is damaged, or has a size that no picture has.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A LoRA file.
    #[error(transparent)]
    Lora(#[from] hypersd_lora::Error),
    /// More memory than there is.
    #[error(
        "drawing this takes about {} of memory, and {} are to be had; it would take {instead}",
        Bytes(*needed),
        Bytes(*available)
    )]
    Memory {
        /// Bytes that drawing takes at most, as [`MemoryEstimate`](crate::MemoryEstimate) has it.
        needed: u64,
        /// Bytes that there are.
        available: u64,
        /// What would take less, and how much.
        instead: String,
    },
    /// A device that this machine does not have.
    #[error(transparent)]
    Device(#[from] crate::device::Error),
    /// A prompt that the tokenizer gives up on, a network's inputs, or a ControlNet that does not fit the model.
    #[error(transparent)]
    Model(#[from] hypersd_models::Error),
    /// Neither a path that is there nor what the hub can be asked for.
    #[error("{given}: no such file or folder; {instead}")]
    NoSuchModel {
        /// The name as it was given.
        given: String,
        /// The way out.
        instead: String,
    },
    /// The Hugging Face hub, or the way to it.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// Exchanging LoRAs failed, and the weights from before could not be read again.
    #[error("the pipeline has lost its weights while its LoRAs were exchanged; load it again")]
    Unloaded,
    /// Networks of a model that cannot work together.
    #[error("the {network} has {found}; expected {expected}")]
    Misfit {
        /// The network that does not fit the others.
        network: &'static str,
        /// Channels that would fit.
        expected: String,
        /// Channels that it has.
        found: String,
    },
    /// A UNet that wants another start than the request's.
    #[error("{found} was given, which draws from {expected} only; start from that, or use another UNet")]
    FurtherInput {
        /// The kind of UNet.
        found: &'static str,
        /// The input that it would draw from.
        expected: &'static str,
    },
    /// A model folder that hypersd cannot run, and why.
    #[error("{origin}: {found}; {instead}")]
    Unsupported {
        /// The folder or file.
        origin: String,
        /// The kind of model.
        found: String,
        /// The way out.
        instead: String,
    },
}

impl Error {
    /// Says which files a fault was found in; for `map_err`.
    pub(crate) fn config<E>(origin: impl std::fmt::Display) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let origin = origin.to_string();
        |source| Self::Config { origin, source: Box::new(source) }
    }

    /// True where the request is at fault rather than a file: no other file would make it right.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Request { .. }
                | Self::Recipe(_)
                | Self::Prompt(_)
                | Self::Scheduler(_)
                | Self::Weights(Core::Argument { .. })
                | Self::Image(ImageError(Core::Argument { .. }))
        )
    }
}
