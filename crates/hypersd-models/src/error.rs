//! One error type for the networks: what they cannot be built from, what they cannot be given.

use burn::tensor::{FloatDType, Tensor};

/// A failure while building or running a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that these networks cannot be built from.
    #[error("config of the {network}: {field} is {found}, expected {expected}")]
    Config {
        /// The network that the configuration describes.
        network: &'static str,
        /// The field of `config.json`.
        field: String,
        /// The values that the field may have.
        expected: String,
        /// The value it had.
        found: String,
    },
    /// A tensor of the wrong shape was given to a network.
    #[error("{argument}: expected shape {expected}, found {found:?}")]
    Shape {
        /// The argument's name.
        argument: &'static str,
        /// The shape that the network's configuration asks for.
        expected: String,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// The network needs an input that was not given.
    #[error("{argument} is missing: {reason}")]
    Missing {
        /// The argument's name.
        argument: &'static str,
        /// Why the network needs it.
        reason: &'static str,
    },
    /// A tokenizer file is not what its name says.
    #[error("{file}: expected {expected}, found {found}")]
    TokenizerFile {
        /// The file's name in a `tokenizer` folder.
        file: &'static str,
        /// What a valid file has there.
        expected: String,
        /// What this file has there.
        found: String,
    },
    /// The tokenizer could not split a text.
    #[error("the tokenizer failed on a text of {length} bytes: {source}")]
    Tokenize {
        /// Size of the text in bytes.
        length: usize,
        /// The error of the `tokenizers` crate.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Token ids that the text encoder has no embedding for, or no ids at all.
    #[error("token ids: expected {expected}, found {found}")]
    TokenIds {
        /// The ids that the encoder takes.
        expected: String,
        /// The input as it was given.
        found: String,
    },
    /// A word of one's own that a tokenizer cannot be given.
    #[error("the word {word:?}: {reason}")]
    Word {
        /// The word.
        word: String,
        /// The fault, and the way out.
        reason: &'static str,
    },
    /// Embeddings that are not for a model's text encoders.
    #[error("{origin}: expected embeddings of {expected}, found {found}{}", made_for.as_deref().unwrap_or_default())]
    TextualInversion {
        /// The file.
        origin: String,
        /// Names and widths that the model's text encoders take.
        expected: String,
        /// Names and shapes in the file.
        found: String,
        /// The family that they look made for, as the end of a sentence.
        made_for: Option<String>,
    },
    /// More layers to skip than the text encoder has.
    #[error("clip_skip: expected 0 to {layers}, found {found}")]
    ClipSkip {
        /// The encoder's number of layers.
        layers: usize,
        /// The value that was asked for.
        found: usize,
    },
    /// A weight file of a family of models that these networks cannot be configured for.
    #[error("{origin}: {family} is not supported; {instead}")]
    Family {
        /// The file.
        origin: String,
        /// The family of models, or the kind of file.
        family: String,
        /// The way out.
        instead: String,
    },
    /// A ControlNet was made for another UNet than the one that it shall guide.
    #[error(
        "the ControlNet does not fit the UNet: its {what} is {controlnet}, the UNet's {unet}; \
         take a ControlNet that was trained for this model's family"
    )]
    OtherFamily {
        /// In what the two differ.
        what: &'static str,
        /// The ControlNet's value.
        controlnet: String,
        /// The UNet's value.
        unet: String,
    },
    /// Reading or loading failed, or an argument cannot be right.
    #[error(transparent)]
    Core(#[from] hypersd_core::Error),
}

impl Error {
    /// A [`Error::Config`] unless `holds`. What was found is shown as a configuration has it.
    pub(crate) fn require(
        network: &'static str,
        field: &str,
        found: impl serde::Serialize,
        holds: bool,
        expected: &str,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        let found = serde_json::to_string(&found).unwrap_or_default();
        Err(Self::Config { network, field: field.to_string(), expected: expected.to_string(), found })
    }
}

/// The rows of both, on the device and in the type of the first.
///
/// # Shapes
/// - first `[B, ..]`, second `[C, ..]` → `[B + C, ..]`
pub(crate) fn cat<const D: usize>(
    argument: &'static str,
    first: Tensor<D>,
    second: Tensor<D>,
) -> Result<Tensor<D>, Error> {
    let mut expected = first.dims().map(Some);
    expected[0] = None;
    check_shape(argument, second.dims(), expected)?;
    let second = second.to_device(&first.device()).cast(FloatDType::from(first.dtype()));
    Ok(Tensor::cat(vec![first, second], 0))
}

/// Checks a tensor's shape; `None` in `expected` stands for any extent.
pub(crate) fn check_shape<const D: usize>(
    argument: &'static str,
    found: [usize; D],
    expected: [Option<usize>; D],
) -> Result<(), Error> {
    let fits = |(&found, expected): (&usize, &Option<usize>)| {
        found > 0 && expected.is_none_or(|expected| found == expected)
    };
    if found.iter().zip(&expected).all(fits) {
        return Ok(());
    }
    let extents = expected.map(|extent| extent.map_or_else(|| "any".into(), |n| n.to_string()));
    Err(Error::Shape { argument, expected: format!("[{}]", extents.join(", ")), found: found.to_vec() })
}
