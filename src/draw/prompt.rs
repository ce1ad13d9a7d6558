//! From text to what a UNet is told about it.

mod tokens;
mod windows;

use std::sync::Arc;

use burn::tensor::{FloatDType, Tensor};
use hypersd_core::{LoadOptions, Products};
use hypersd_lora::Merged;
use hypersd_models::{
    Numbers, Profile, TextProfile,
    clip::{ClipTextConfig, ClipTextModel, Tokenizer, ignored_tensors},
    unet::{Conditioning, Context},
};

use super::guidance::Conditions;
use crate::{
    Error, Prompt, PromptEmbeds, Refine, Request,
    embeddings::Words,
    network::{Leftovers, Network},
    notice::{Notice, Notices},
};
pub use tokens::TokenCount;
use windows::{States, Window, Windows};

/// A tokenizer and the encoder that reads its ids.
#[derive(Debug)]
pub(crate) struct TextEncoder {
    pub(crate) traits: &'static TextProfile,
    /// The model's own, without words that were added.
    pub(crate) tokenizer: Tokenizer,
    pub(crate) words: Option<Words>,
    pub(crate) network: Network<ClipTextModel, Merged>,
}

impl TextEncoder {
    /// An encoder with the source of its weights, under canonical names.
    pub(crate) fn new(
        traits: &'static TextProfile,
        tokenizer: Tokenizer,
        config: &ClipTextConfig,
        source: Arc<Merged>,
        (options, products): (&LoadOptions, Products),
        leftovers: &Leftovers,
    ) -> Result<Self, Error> {
        let options = LoadOptions { ignore: ignored_tensors(config.num_hidden_layers), ..options.clone() };
        let network = ClipTextModel::new(config, &options.device)?;
        let network = Network::new(network, source, options, products, leftovers)?;
        Ok(Self { traits, tokenizer, words: None, network })
    }

    /// The tokenizer, with the words that were added.
    fn tokenizer(&self) -> &Tokenizer {
        self.words.as_ref().map_or(&self.tokenizer, |words| &words.tokenizer)
    }

    /// What a prompt is to the encoder, by the encoder's place in the family.
    fn windows(&self, prompt: &Prompt, place: usize) -> Result<Windows, Error> {
        match prompt.words() {
            Some(text) => Windows::new(self.tokenizer(), &text.parts(place)?, text.is_long()),
            None => Ok(Windows::default()),
        }
    }

    /// The states of each prompt by itself; none where it has no windows.
    fn encode(&self, prompts: &[(&Prompt, &[Window])]) -> Result<Vec<Option<States>>, Error> {
        if prompts.iter().all(|(_, windows)| windows.is_empty()) {
            return Ok(prompts.iter().map(|_| None).collect()); // no weights are needed
        }
        let network = self.network.get()?;
        let words = self.words.as_ref().map(|words| &words.vectors);
        let encode = |(prompt, windows): &(&Prompt, &[Window])| {
            windows::encode(&network, self.traits, words, windows, prompt.clip_skip())
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
    /// Reads the weights of all encoders, to stay in memory.
    pub(super) fn keep(&mut self) -> Result<(), Error> {
        self.encoders.iter_mut().try_for_each(|encoder| encoder.network.keep())
    }

    /// The conditions of a request's prompts, for a batch of pictures.
    pub(super) fn conditions_of(
        &self,
        request: &Request,
        batch: Batch,
        notices: &Notices,
    ) -> Result<Conditions, Error> {
        let Request { prompt, negative, .. } = request;
        let Refine { aesthetic_score, negative_aesthetic_score, .. } = request.refine.unwrap_or_default();
        let positive = |embeds: &PromptEmbeds| self.condition(embeds, batch, aesthetic_score);
        let negated = |embeds: &PromptEmbeds| self.condition(embeds, batch, negative_aesthetic_score);
        if !request.is_guided() {
            let [prompt] = self.encode([prompt], notices)?;
            return Ok(Conditions { positive: positive(&prompt), negative: None });
        }
        if negative.is_none() && self.zero_negative {
            let [prompt] = self.encode([prompt], notices)?;
            let negative = Some(negated(&prompt.zeros_like()));
            return Ok(Conditions { positive: positive(&prompt), negative });
        }
        let empty = Prompt::default();
        let negative = negative.as_ref().unwrap_or(&empty);
        let [prompt, negative] = self.encode([prompt, negative], notices)?;
        Ok(Conditions { positive: positive(&prompt), negative: Some(negated(&negative)) })
    }

    /// The embeddings of each prompt, all of one length: by one encoder those of all of them, before the next encoder is
    /// asked for.
    pub(super) fn encode<const N: usize>(
        &self,
        prompts: [&Prompt; N],
        notices: &Notices,
    ) -> Result<[PromptEmbeds; N], Error> {
        let windows = self.windows(prompts, notices)?;
        let mut context = [(); N].map(|()| Vec::new());
        let mut pooled = [(); N].map(|()| None);
        for (encoder, windows) in self.encoders.iter().zip(&windows) {
            let windows: Vec<_> =
                prompts.into_iter().zip(windows).map(|(prompt, windows)| (prompt, &windows[..])).collect();
            let states = encoder.encode(&windows)?;
            for (states, (context, pooled)) in states.into_iter().zip(context.iter_mut().zip(&mut pooled)) {
                let Some(states) = states else { continue };
                context.push(states.context);
                *pooled = states.pooled.or(pooled.take());
            }
        }
        let mut encoded = Vec::with_capacity(N);
        for (prompt, (context, pooled)) in prompts.into_iter().zip(context.into_iter().zip(pooled)) {
            let filled = (!context.is_empty()).then(|| Tensor::cat(context, 2));
            encoded.push(joined(prompt.embeds(), filled, pooled)?);
        }
        Ok(encoded.try_into().expect("one for each prompt"))
    }

    /// The windows of each prompt for each encoder, filled up with empty ones, such that all prompts are of one length.
    fn windows<const N: usize>(
        &self,
        prompts: [&Prompt; N],
        notices: &Notices,
    ) -> Result<Vec<[Vec<Window>; N]>, Error> {
        let mut all = Vec::with_capacity(self.encoders.len());
        for (place, encoder) in self.encoders.iter().enumerate() {
            let mut of_encoder = [(); N].map(|()| Vec::new());
            for (prompt, windows) in prompts.into_iter().zip(&mut of_encoder) {
                let Windows { windows: own, truncated, .. } = encoder.windows(prompt, place)?;
                // The longer part of a long prompt is cut off alike for all: one notice is enough.
                if let Some(rest) = truncated.filter(|_| place == 0 || prompt.second().is_some()) {
                    notices.give(Notice::PromptTruncated { rest });
                }
                *windows = own;
            }
            all.push(of_encoder);
        }
        let window =
            self.encoders.iter().map(|encoder| encoder.tokenizer.model_max_length()).max().unwrap_or(1);
        let embeds = prompts.map(|prompt| prompt.embeds().map_or(0, PromptEmbeds::length));
        let windows = all.iter().flatten().map(|windows| windows.len() * window);
        let longest = windows.chain(embeds).max().unwrap_or(window);
        for (encoder, of_encoder) in self.encoders.iter().zip(&mut all) {
            for ((prompt, windows), has) in prompts.into_iter().zip(of_encoder).zip(embeds) {
                let missing = longest - has - windows.len() * window;
                if missing % window != 0 {
                    return Err(Error::Request {
                        option: "negative",
                        expected: format!("prompts whose lengths differ by windows of {window} tokens"),
                        found: format!("{longest} and {} tokens", longest - missing),
                    });
                }
                let empty = Window::empty(encoder.tokenizer());
                windows.extend((0..missing / window).map(|_| empty.clone()));
                debug_assert_eq!(has + windows.len() * window, longest, "{prompt}");
            }
        }
        Ok(all)
    }

    /// The condition of a prompt, for a batch of pictures that shall look so good.
    fn condition(&self, embeds: &PromptEmbeds, batch: Batch, score: f64) -> Conditioning {
        let time_ids = time_ids(self.profile.numbers, batch.size, score);
        let conditioning = Conditioning::new(Context::text(embeds.context().repeat_dim(0, batch.pictures)));
        // Where the UNet wants a pooled state and a prompt of one's own has none, the UNet says so.
        match embeds.pooled().filter(|_| self.profile.numbers != Numbers::None) {
            Some(pooled) => conditioning.with_added(
                Tensor::<2>::repeat_dim(pooled, 0, batch.pictures),
                vec![time_ids; batch.pictures],
            ),
            None => conditioning,
        }
    }
}

/// A prompt's embeddings: those that it is made of, then the states of its windows.
fn joined(
    own: Option<&PromptEmbeds>,
    windows: Option<Tensor<3>>,
    pooled: Option<Tensor<2>>,
) -> Result<PromptEmbeds, Error> {
    match (own, windows) {
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(windows)) => {
            let (device, dtype) = (windows.device(), FloatDType::from(windows.dtype()));
            let first = own.context();
            if first.dims()[2] != windows.dims()[2] {
                return Err(Error::Request {
                    option: "prompt_embeds",
                    expected: format!("states of width {}", windows.dims()[2]),
                    found: first.dims()[2].to_string(),
                });
            }
            let context = Tensor::cat(vec![first.to_device(&device).cast(dtype), windows], 1);
            PromptEmbeds::new(context, own.pooled())
        }
        (None, windows) => PromptEmbeds::new(windows.expect("text has at least one window"), pooled),
    }
}

/// Makes sure that a request leaves out no more layers than the text encoders have, of which the numbers are given in the
/// family's order.
pub(crate) fn check_clip_skip(
    request: &Request,
    profile: &Profile,
    layers: impl Iterator<Item = usize> + Clone,
) -> Result<(), Error> {
    for prompt in std::iter::once(&request.prompt).chain(&request.negative) {
        for (traits, layers) in profile.text_encoders.iter().zip(layers.clone()) {
            let most = traits.most_skipped(layers);
            if prompt.clip_skip() > most {
                return Err(Error::Request {
                    option: "clip_skip",
                    expected: format!("0 to {most} of the {layers} layers of the {}", traits.encoder),
                    found: prompt.clip_skip().to_string(),
                });
            }
        }
    }
    Ok(())
}

/// The pictures that a prompt conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Their number.
    pub(super) pictures: usize,
    /// Height and width in pixels, which SDXL is told.
    pub(super) size: [usize; 2],
}

/// The numbers of a picture that was neither scaled nor cropped: original height and width, top and left of the crop, then
/// target height and width, or how good it looks.
fn time_ids(numbers: Numbers, [height, width]: [usize; 2], score: f64) -> Vec<f32> {
    let [height, width] = [height as f32, width as f32];
    match numbers {
        Numbers::Sizes => vec![height, width, 0.0, 0.0, height, width],
        Numbers::Aesthetics => vec![height, width, 0.0, 0.0, score as f32],
        _ => Vec::new(),
    }
}
