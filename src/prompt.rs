//! From text to what a UNet is told about it.

use burn::tensor::Tensor;
use hypersd_core::{Component, LoadOptions, Renamed, SharedSource, TensorSource, Variant, load};
use hypersd_models::{
    clip::{
        ClipTextConfig, ClipTextModel, Encoded, IGNORED_TENSORS, Tokenizer, TokenizerFiles, canonical_names,
    },
    unet::Conditioning,
};

use crate::Error;

/// A tokenizer and a text encoder that are opened but not loaded.
#[derive(Debug)]
pub(crate) struct TextParts {
    tokenizer: Tokenizer,
    config: ClipTextConfig,
    component: Component,
}

/// A tokenizer and the encoder that reads its ids.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    model: ClipTextModel,
}

impl TextParts {
    /// A model without a `tokenizer` folder gets CLIP's own.
    pub(crate) fn open(tokenizer: Option<&Component>, encoder: Component) -> Result<Self, Error> {
        let tokenizer = match tokenizer {
            Some(component) => read_tokenizer(component)?,
            None => Tokenizer::clip_l()?,
        };
        let config: ClipTextConfig = encoder.config()?;
        config.validate().map_err(Error::config(encoder.path().display()))?;
        Ok(Self { tokenizer, config, component: encoder })
    }

    /// The encoder's weights under canonical names.
    pub(crate) fn weights(&self, variant: &Variant) -> Result<Renamed<SharedSource>, Error> {
        let source = self.component.weights(variant)?;
        let renames = canonical_names(source.names());
        Ok(Renamed::new(source, renames)?)
    }
}

impl TextEncoder {
    pub(crate) fn load(
        parts: TextParts,
        source: &dyn TensorSource,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let options = LoadOptions { ignore: IGNORED_TENSORS, ..options.clone() };
        let model = load(ClipTextModel::new(&parts.config, &options.device)?, source, &options)?;
        Ok(Self { tokenizer: parts.tokenizer, model })
    }

    /// The ids of a prompt, and what of it did not fit.
    pub(crate) fn tokenize(&self, prompt: &str) -> Result<Encoded, Error> {
        Ok(self.tokenizer.encode(prompt)?)
    }

    /// SD1.x: the last hidden state after the final norm, repeated for a batch of `batch` pictures,
    /// `[batch, 77, width]`.
    pub(crate) fn encode(&self, prompt: &str, batch: usize) -> Result<Conditioning, Error> {
        let ids = self.tokenize(prompt)?.ids;
        let context: Tensor<3> = self.model.forward(&[ids])?.last_hidden_state;
        Ok(Conditioning { context: context.repeat_dim(0, batch), pooled: None, time_ids: None })
    }
}

fn read_tokenizer(component: &Component) -> Result<Tokenizer, Error> {
    let text = |name| component.text(name);
    let tokenizer = text("tokenizer.json")?;
    let vocab = text("vocab.json")?;
    let merges = text("merges.txt")?;
    let tokenizer_config = text("tokenizer_config.json")?;
    let special_tokens_map = text("special_tokens_map.json")?;
    let files = TokenizerFiles {
        tokenizer: tokenizer.as_deref(),
        vocab: vocab.as_deref(),
        merges: merges.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
    };
    Tokenizer::from_files(&files).map_err(Error::config(component.path().display()))
}
