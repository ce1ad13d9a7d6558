//! From text to what a UNet is told about it.

use std::sync::Arc;

use burn::tensor::Tensor;
use hypersd_core::LoadOptions;
use hypersd_lora::Merged;
use hypersd_models::{
    clip::{ClipTextConfig, ClipTextModel, IGNORED_TENSORS, TextStates, Tokenizer},
    unet::Conditioning,
};

use crate::{
    Error,
    notice::{Notice, Notices},
    swap::Swappable,
};

/// A tokenizer and the encoder that reads its ids.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    pub(crate) network: Swappable<ClipTextModel>,
}

impl TextEncoder {
    /// Loads the encoder from its weights under canonical names.
    pub(crate) fn load(
        tokenizer: Tokenizer,
        config: &ClipTextConfig,
        source: Arc<Merged>,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let options = LoadOptions { ignore: IGNORED_TENSORS, ..options.clone() };
        let network = Swappable::load(ClipTextModel::new(config, &options.device)?, source, options)?;
        Ok(Self { tokenizer, network })
    }

    fn encode(&self, prompt: &str, notices: &Notices) -> Result<TextStates, Error> {
        let encoded = self.tokenizer.encode(prompt)?;
        if let Some(rest) = encoded.truncated {
            notices.give(Notice::PromptTruncated { rest });
        }
        Ok(self.network.get()?.forward(&[encoded.ids])?)
    }
}

/// The text encoders of a model: one for Stable Diffusion 1.x and 2.x, two for SDXL.
#[derive(Debug)]
pub(crate) struct PromptEncoder {
    pub(crate) first: TextEncoder,
    pub(crate) second: Option<TextEncoder>,
    /// Whether a negative prompt that is not given is zeros rather than the empty prompt
    /// (`force_zeros_for_empty_prompt`).
    pub(crate) zero_negative: bool,
}

impl PromptEncoder {
    /// The first, then the second.
    pub(crate) fn encoders(&self) -> impl Iterator<Item = &TextEncoder> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// The first, then the second.
    pub(crate) fn encoders_mut(&mut self) -> impl Iterator<Item = &mut TextEncoder> {
        std::iter::once(&mut self.first).chain(&mut self.second)
    }

    /// The condition for `batch` pictures of one prompt. `size` is height and width in pixels, which SDXL is told.
    pub(crate) fn positive(
        &self,
        prompt: &str,
        batch: usize,
        size: [usize; 2],
        notices: &Notices,
    ) -> Result<Conditioning, Error> {
        let first = self.first.encode(prompt, notices)?;
        let Some(second) = &self.second else {
            let context = first.last_hidden_state.repeat_dim(0, batch);
            return Ok(Conditioning { context, pooled: None, time_ids: None });
        };
        // The longer part of a long prompt is cut off alike for both: one notice is enough.
        let second = second.encode(prompt, &Notices::default())?;
        let penultimate = |states: &TextStates| states.hidden_states[states.hidden_states.len() - 2].clone();
        let context = Tensor::cat(vec![penultimate(&first), penultimate(&second)], 2);
        Ok(Conditioning {
            context: context.repeat_dim(0, batch),
            pooled: second.pooled.map(|pooled| pooled.repeat_dim(0, batch)),
            time_ids: Some(vec![time_ids(size); batch]),
        })
    }

    /// The condition that guidance leads away from.
    pub(crate) fn negative(
        &self,
        prompt: Option<&str>,
        batch: usize,
        size: [usize; 2],
        notices: &Notices,
    ) -> Result<Conditioning, Error> {
        let negative = self.positive(prompt.unwrap_or_default(), batch, size, notices)?;
        if prompt.is_some() || !self.zero_negative || self.second.is_none() {
            return Ok(negative);
        }
        Ok(Conditioning {
            context: negative.context.zeros_like(),
            pooled: negative.pooled.map(|pooled| pooled.zeros_like()),
            ..negative
        })
    }
}

/// Original height and width, top and left of the crop, target height and width: a picture that was neither scaled
/// nor cropped.
fn time_ids([height, width]: [usize; 2]) -> [f32; 6] {
    [height as f32, width as f32, 0.0, 0.0, height as f32, width as f32]
}
