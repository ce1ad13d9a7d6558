//! A weight file as pictures name it.

use serde::{Deserialize, Serialize};

/// The part of a pipeline that a weight file was loaded as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum WeightPart {
    /// A whole model in one file.
    Model,
    /// A text encoder.
    TextEncoder,
    /// The UNet.
    UNet,
    /// The VAE.
    Vae,
    /// A LoRA.
    Lora,
    /// A ControlNet.
    ControlNet,
    /// A word of one's own (textual inversion).
    Embedding,
    /// A difference that was added to the UNet.
    Difference,
    /// A refiner: of one in a folder, its UNet and then its text encoders.
    Refiner,
    /// A part that this version does not know, by the name that another one gave it.
    Other(String),
}

impl WeightPart {
    const KNOWN: [Self; 9] = [
        Self::Model,
        Self::TextEncoder,
        Self::UNet,
        Self::Vae,
        Self::Lora,
        Self::ControlNet,
        Self::Embedding,
        Self::Difference,
        Self::Refiner,
    ];

    /// The name in pictures: `text_encoder`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Model => "model",
            Self::TextEncoder => "text_encoder",
            Self::UNet => "unet",
            Self::Vae => "vae",
            Self::Lora => "lora",
            Self::ControlNet => "controlnet",
            Self::Embedding => "embedding",
            Self::Difference => "difference",
            Self::Refiner => "refiner",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for WeightPart {
    fn from(name: String) -> Self {
        Self::KNOWN.into_iter().find(|part| part.as_str() == name).unwrap_or(Self::Other(name))
    }
}

impl From<WeightPart> for String {
    fn from(part: WeightPart) -> Self {
        part.as_str().into()
    }
}

/// A file that weights came from. Its part, its name and its hash are always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightFile {
    /// The part it was loaded as.
    pub part: WeightPart,
    /// The name that the user knows it by: the file's without the extension, or the model's.
    pub name: String,
    /// The first 10 digits of the file's SHA-256.
    pub sha256: String,
    /// For a LoRA, the first 12 digits of the SHA-256 of what follows its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensors_sha256: Option<String>,
    /// For a LoRA or a difference, the weight it was merged with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
}

impl WeightFile {
    /// A file by its part, its name and the first 10 digits of its SHA-256.
    #[must_use]
    pub fn new(part: WeightPart, name: impl Into<String>, sha256: impl Into<String>) -> Self {
        Self { part, name: name.into(), sha256: sha256.into(), tensors_sha256: None, weight: None }
    }

    /// The hash that the web UI knows a LoRA by.
    pub(super) fn lora_hash(&self) -> &str {
        self.tensors_sha256.as_ref().unwrap_or(&self.sha256)
    }
}
