//! From text to what a UNet is told about it.

use std::sync::Arc;

use burn::tensor::Tensor;
use hypersd_core::LoadOptions;
use hypersd_lora::Merged;
use hypersd_models::{
    Profile, TextProfile,
    clip::{ClipTextConfig, ClipTextModel, IGNORED_TENSORS, TextStates, Tokenizer},
    unet::{Conditioning, Context},
};

use super::guidance::Conditions;
use crate::{
    Error, Request,
    network::Network,
    notice::{Notice, Notices},
};

/// A tokenizer and the encoder that reads its ids.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    traits: &'static TextProfile,
    tokenizer: Tokenizer,
    pub(crate) network: Network<ClipTextModel, Merged>,
}

impl TextEncoder {
    /// An encoder with the source of its weights, under canonical names.
    pub(crate) fn new(
        traits: &'static TextProfile,
        tokenizer: Tokenizer,
        config: &ClipTextConfig,
        source: Arc<Merged>,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let options = LoadOptions { ignore: IGNORED_TENSORS, ..options.clone() };
        let network = Network::new(ClipTextModel::new(config, &options.device)?, source, options)?;
        Ok(Self { traits, tokenizer, network })
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

/// The text encoders of a model.
#[derive(Debug)]
pub(crate) struct PromptEncoder {
    pub(crate) profile: &'static Profile,
    /// In the order of the profile.
    pub(crate) encoders: Vec<TextEncoder>,
    /// True where a negative prompt that is not given is zeros rather than the empty prompt
    /// (`force_zeros_for_empty_prompt`).
    pub(crate) zero_negative: bool,
}

impl PromptEncoder {
    /// The conditions of a request's prompts, for a batch of pictures.
    pub(super) fn conditions_of(
        &self,
        request: &Request,
        batch: Batch,
        notices: &Notices,
    ) -> Result<Conditions, Error> {
        let Request { prompt, negative, .. } = request;
        if !request.is_guided() {
            let [positive] = self.conditions([prompt], batch, notices)?;
            return Ok(Conditions { positive, negative: None });
        }
        if negative.is_none() && self.zero_negative {
            let [positive] = self.conditions([prompt], batch, notices)?;
            let negative = Some(positive.zeros_like());
            return Ok(Conditions { positive, negative });
        }
        let negative = negative.as_deref().unwrap_or_default();
        let [positive, negative] = self.conditions([prompt, negative], batch, notices)?;
        Ok(Conditions { positive, negative: Some(negative) })
    }

    /// The condition of each prompt: all of them by one encoder before the next encoder is asked for.
    fn conditions<const N: usize>(
        &self,
        prompts: [&str; N],
        batch: Batch,
        notices: &Notices,
    ) -> Result<[Conditioning; N], Error> {
        let mut context = [(); N].map(|()| Vec::new());
        let mut pooled = [(); N].map(|()| None);
        for (i, encoder) in self.encoders.iter().enumerate() {
            // The longer part of a long prompt is cut off alike for all: one notice is enough.
            let silent = Notices::default();
            let states = encoder.encode(&prompts, if i == 0 { notices } else { &silent })?;
            for (states, (context, pooled)) in states.into_iter().zip(context.iter_mut().zip(&mut pooled)) {
                context.push(encoder.traits.context(&states));
                if encoder.traits.pooled {
                    *pooled = states.pooled;
                }
            }
        }
        let mut pooled = pooled.into_iter();
        let time_ids = &time_ids(batch.size)[..self.profile.time_ids];
        Ok(context.map(|context| {
            let context = Tensor::cat(context, 2).repeat_dim(0, batch.pictures);
            let conditioning = Conditioning::new(Context::text(context));
            // Where the UNet wants a pooled state, opening the model has made sure that there is one.
            match pooled.next().flatten() {
                Some(pooled) => conditioning.with_added(
                    Tensor::<2>::repeat_dim(pooled, 0, batch.pictures),
                    vec![time_ids.to_vec(); batch.pictures],
                ),
                None => conditioning,
            }
        }))
    }
}

/// The pictures that a prompt conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// Their number.
    pub(super) pictures: usize,
    /// Height and width in pixels, which SDXL is told.
    pub(super) size: [usize; 2],
}

/// Original height and width, top and left of the crop, target height and width: a picture that was neither scaled
/// nor cropped.
fn time_ids([height, width]: [usize; 2]) -> [f32; 6] {
    [height as f32, width as f32, 0.0, 0.0, height as f32, width as f32]
}
