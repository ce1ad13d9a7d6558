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
    network::Network,
    notice::{Notice, Notices},
};

/// A tokenizer and the encoder that reads its ids.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    tokenizer: Tokenizer,
    pub(crate) network: Network<ClipTextModel, Merged>,
}

impl TextEncoder {
    /// An encoder with the source of its weights, under canonical names.
    pub(crate) fn new(
        tokenizer: Tokenizer,
        config: &ClipTextConfig,
        source: Arc<Merged>,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let options = LoadOptions { ignore: IGNORED_TENSORS, ..options.clone() };
        let network = Network::new(ClipTextModel::new(config, &options.device)?, source, options)?;
        Ok(Self { tokenizer, network })
    }

    /// The states of each prompt by itself.
    fn encode(&self, prompts: &[&str], notices: &Notices) -> Result<Vec<TextStates>, Error> {
        let network = self.network.get()?;
        let encode = |&prompt: &&str| {
            let encoded = self.tokenizer.encode(prompt)?;
            if let Some(rest) = encoded.truncated {
                notices.give(Notice::PromptTruncated { rest });
            }
            Ok(network.forward(&[encoded.ids])?)
        };
        prompts.iter().map(encode).collect()
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

    /// The condition of a prompt, for a batch of pictures.
    pub(crate) fn positive(
        &self,
        prompt: &str,
        batch: Batch,
        notices: &Notices,
    ) -> Result<Conditioning, Error> {
        let [condition] = self.conditions([prompt], batch, notices)?;
        Ok(condition)
    }

    /// The condition that guidance leads away from, and that of the prompt.
    pub(crate) fn both(
        &self,
        negative: Option<&str>,
        prompt: &str,
        batch: Batch,
        notices: &Notices,
    ) -> Result<[Conditioning; 2], Error> {
        if negative.is_none() && self.zero_negative && self.second.is_some() {
            let positive = self.positive(prompt, batch, notices)?;
            return Ok([positive.zeros_like(), positive]);
        }
        let [positive, negative] = self.conditions([prompt, negative.unwrap_or_default()], batch, notices)?;
        Ok([negative, positive])
    }

    /// The condition of each prompt: all of them by one encoder before the next encoder is asked for.
    fn conditions<const N: usize>(
        &self,
        prompts: [&str; N],
        batch: Batch,
        notices: &Notices,
    ) -> Result<[Conditioning; N], Error> {
        let first = self.first.encode(&prompts, notices)?;
        // The longer part of a long prompt is cut off alike for both: one notice is enough.
        let second = self.second.as_ref().map(|second| second.encode(&prompts, &Notices::default()));
        let mut second = second.transpose()?.into_iter().flatten();
        let conditions = first.into_iter().map(|first| batch.condition(first, second.next()));
        Ok(conditions.collect::<Vec<_>>().try_into().expect("one condition for each prompt"))
    }
}

/// The pictures that a prompt conditions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// How many.
    pub(crate) pictures: usize,
    /// Height and width in pixels, which SDXL is told.
    pub(crate) size: [usize; 2],
}

impl Batch {
    /// The condition of a prompt with these states of the first encoder, and for SDXL of the second.
    fn condition(self, first: TextStates, second: Option<TextStates>) -> Conditioning {
        let Self { pictures, size } = self;
        let Some(second) = second else {
            let context = first.last_hidden_state.repeat_dim(0, pictures);
            return Conditioning { context, pooled: None, time_ids: None };
        };
        let penultimate = |states: &TextStates| states.hidden_states[states.hidden_states.len() - 2].clone();
        let context = Tensor::cat(vec![penultimate(&first), penultimate(&second)], 2);
        Conditioning {
            context: context.repeat_dim(0, pictures),
            pooled: second.pooled.map(|pooled| pooled.repeat_dim(0, pictures)),
            time_ids: Some(vec![time_ids(size); pictures]),
        }
    }
}

/// Original height and width, top and left of the crop, target height and width: a picture that was neither scaled
/// nor cropped.
fn time_ids([height, width]: [usize; 2]) -> [f32; 6] {
    [height as f32, width as f32, 0.0, 0.0, height as f32, width as f32]
}
