//! The parts of a model: each network's configuration, and where its weights are.

use std::sync::Arc;

use hypersd_core::{
    Component, Family, LoadOptions, Location, ModelFolder, Renamed, SharedSource, Variant, WeightFile,
    WithDifference,
};
use hypersd_lora::{Base, Merged, UNET_PREFIX};
use hypersd_models::{
    Profile, SingleFile,
    clip::{ClipTextConfig, Tokenizer, canonical_names},
    controlnet::ControlNetConfig,
    unet::UNetConfig,
};
use hypersd_schedulers::PredictionType;

use super::{Numbers, checkpoint, folder};
use crate::{
    Error, Notice, Request,
    draw::{
        AutoencoderConfig, Defaults, Denoiser, FurtherInput, PromptEncoder, TextEncoder, check_clip_skip,
        check_condition,
    },
    embeddings::{self, Embedding, Reader},
    network::{Leftovers, Network},
};

/// Everything a pipeline is made of, opened but not loaded.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The traits that the model shares with all of its family.
    pub(crate) profile: &'static Profile,
    /// The model's folder or file, for messages.
    pub(crate) origin: String,
    /// The family's text encoders, in their order; with their tokenizers where the model has some.
    pub(crate) text: Vec<TextPart>,
    pub(crate) unet: Option<Part<UNetConfig>>,
    /// What is added to the UNet's weights, and how much of it.
    pub(crate) difference: Option<(Part<UNetConfig>, f32)>,
    pub(crate) vae: Option<Part<AutoencoderConfig>>,
    pub(crate) defaults: Defaults,
    /// `force_zeros_for_empty_prompt`
    pub(crate) zero_negative: bool,
}

/// A text encoder, which may still have to be given, and its tokenizer.
#[derive(Debug)]
pub(crate) struct TextPart {
    /// None where the model has none: it is then the family's, for as many embeddings as the encoder has.
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) part: Option<Part<ClipTextConfig>>,
}

/// A text encoder that is there.
type Encoder<'a> = (&'a Tokenizer, &'a Part<ClipTextConfig>);

impl Parts {
    /// Reads the configurations of a model in a folder or a file.
    pub(crate) fn open(model: &Location, pending: &mut Vec<Notice>) -> Result<Self, Error> {
        match model.is_file() {
            true => checkpoint::open(model, pending),
            false => folder::open(&ModelFolder::open(model)?),
        }
    }

    /// The networks that a LoRA can change, with their untouched weights: the UNet, then the text encoders.
    pub(crate) fn bases(&self, variant: &Variant) -> Result<Vec<Base>, Error> {
        let family = Some(self.profile.family);
        let mut bases = vec![Base { prefix: UNET_PREFIX, family, source: self.unet_weights(variant)? }];
        for (traits, (_, part)) in self.profile.text_encoders.iter().zip(self.text()?) {
            let source = part.weights.open(variant)?;
            let renames = canonical_names(source.names());
            let source = Arc::new(Renamed::new(source, renames)?);
            bases.push(Base { prefix: traits.lora_prefix, family, source });
        }
        Ok(bases)
    }

    fn unet_weights(&self, variant: &Variant) -> Result<SharedSource, Error> {
        let own = self.unet()?.weights.open(variant)?;
        match &self.difference {
            Some((part, weight)) => {
                Ok(Arc::new(WithDifference::new(own, part.weights.open(variant)?, *weight)?))
            }
            None => Ok(own),
        }
    }

    /// These networks, each with the source of its weights, which are still to be read. The tokenizers go with them.
    pub(crate) fn predicting(
        &self,
        sources: Vec<Arc<Merged>>,
        options: &LoadOptions,
        numbers: Numbers,
        leftovers: &Leftovers,
    ) -> Result<(PromptEncoder, Network<Denoiser, Merged>), Error> {
        let mut sources = sources.into_iter();
        let mut next_source = || sources.next().expect("one source for each base");
        let denoiser = Denoiser::new(&self.unet()?.config, &options.device)?;
        let denoiser = Network::new(denoiser, next_source(), options.clone(), numbers.denoiser, leftovers)?;
        let Self { profile, zero_negative, .. } = *self;
        let others = &LoadOptions { dtype: numbers.others_dtype, ..options.clone() };
        let others = (others, numbers.others);
        let mut encoders = Vec::new();
        for (traits, (tokenizer, part)) in profile.text_encoders.iter().zip(self.text()?) {
            let (source, tokenizer) = (next_source(), tokenizer.clone());
            encoders.push(TextEncoder::new(traits, tokenizer, &part.config, source, others, leftovers)?);
        }
        Ok((PromptEncoder { profile, encoders, zero_negative }, denoiser))
    }

    /// What the UNet predicts, as far as files say it.
    pub(crate) fn prediction(&self) -> PredictionType {
        self.defaults.sampling.prediction()
    }

    /// Makes sure that the model can take over from another, on its latents.
    pub(crate) fn check_refines(&self, base: &Self) -> Result<(), Error> {
        let misfit =
            |expected: String, found: String| Err(Error::Misfit { network: "refiner", expected, found });
        let (own, theirs) = (self.profile.family, base.profile.family);
        if !base.profile.refined_by.contains(&own) {
            let expected = match base.profile.refined_by {
                [] => {
                    format!("none at all: {theirs} is the model, and only Stable Diffusion XL has refiners")
                }
                _ => format!("those of {}, on the latents of {theirs}", Family::SdxlRefiner),
            };
            return misfit(expected, format!("the layers of {own}"));
        }
        let unet = &self.unet()?.config;
        check_condition(unet, self.profile, self.text()?.into_iter().map(|(_, part)| &part.config))?;
        let wanted = FurtherInput::of(unet, base.vae()?.config.latent_channels())?;
        match wanted {
            FurtherInput::None => Ok(()),
            _ => misfit("as many as the latents have".into(), format!("{} channels in", unet.in_channels)),
        }
    }

    /// Makes sure that a UNet is of the model's family.
    pub(crate) fn check_is_of_family(&self, unet: &UNetConfig) -> Result<(), Error> {
        let (own, family) = (self.profile.family, unet.family());
        if own == family { Ok(()) } else { Err(of_another_family(own, family)) }
    }

    /// The UNet, if there is one by now.
    pub(crate) fn unet(&self) -> Result<&Part<UNetConfig>, Error> {
        self.unet.as_ref().ok_or_else(|| self.lacks("UNet", "--unet, PipelineBuilder::unet"))
    }

    /// The VAE, if there is one by now.
    pub(crate) fn vae(&self) -> Result<&Part<AutoencoderConfig>, Error> {
        self.vae.as_ref().ok_or_else(|| self.lacks("VAE", "--vae, PipelineBuilder::vae"))
    }

    /// The text encoders, if all are there by now.
    pub(crate) fn text(&self) -> Result<Vec<Encoder<'_>>, Error> {
        const WAYS: [&str; 2] = [
            "--text-encoder, PipelineBuilder::text_encoder",
            "--text-encoder-2, PipelineBuilder::text_encoder_2",
        ];
        let encoders = self.profile.text_encoders.iter().zip(WAYS).zip(&self.text);
        encoders
            .map(|((traits, way), text)| match (&text.tokenizer, &text.part) {
                (Some(tokenizer), Some(part)) => Ok((tokenizer, part)),
                _ => Err(self.lacks(traits.encoder, way)),
            })
            .collect()
    }

    fn lacks(&self, network: &str, way: &str) -> Error {
        Error::Unsupported {
            origin: self.origin.clone(),
            found: format!("the model has no {network}"),
            instead: format!("give one ({way})"),
        }
    }

    /// Makes sure that the UNet is of the model's family. A model that was opened without one is of any with the same
    /// text encoders.
    pub(crate) fn check_family(&mut self, had_unet: bool) -> Result<(), Error> {
        let Some(unet) = &self.unet else { return Ok(()) };
        let (own, family) = (self.profile.family, unet.config.family());
        if own == family {
            return Ok(());
        }
        let names = |profile: &Profile| -> Vec<_> {
            profile.text_encoders.iter().map(|traits| traits.encoder).collect()
        };
        match Profile::of(family).filter(|other| !had_unet && names(other) == names(self.profile)) {
            Some(profile) => {
                self.profile = profile;
                Ok(())
            }
            None => Err(of_another_family(own, family)),
        }
    }

    /// Puts an encoder in its place. The tokenizer stays, if it is for as many embeddings.
    pub(crate) fn replace_text(&mut self, place: usize, part: Part<ClipTextConfig>) -> Result<(), Error> {
        let (Some(traits), Some(text)) = (self.profile.text_encoders.get(place), self.text.get_mut(place))
        else {
            return Err(Error::Unsupported {
                origin: self.origin.clone(),
                found: format!("{} has no second text encoder", self.profile.family),
                instead: "leave it out, or use an SDXL model".into(),
            });
        };
        let vocabulary = part.config.vocab_size;
        let same = text.part.as_ref().is_none_or(|old| old.config.vocab_size == vocabulary);
        if text.tokenizer.is_none() || !same {
            text.tokenizer = Some((traits.own_tokenizer)(vocabulary)?);
        }
        text.part = Some(part);
        Ok(())
    }

    /// Makes sure that the UNet reads the states of the text encoders, and that it and the VAE speak of the same latents;
    /// and says what it wants beside them.
    pub(crate) fn check_fit(&self) -> Result<FurtherInput, Error> {
        let (unet, text, vae) = (&self.unet()?.config, self.text()?, self.vae()?);
        check_condition(unet, self.profile, text.iter().map(|(_, part)| &part.config))?;
        FurtherInput::of(unet, vae.config.latent_channels())
    }

    /// Makes sure that the text encoders can read the prompts of a request.
    pub(crate) fn check_prompts(&self, request: &Request) -> Result<(), Error> {
        let text = self.text()?;
        let layers = text.iter().map(|(_, part)| part.config.num_hidden_layers);
        check_clip_skip(request, self.profile, layers)
    }

    /// Makes sure that embeddings are for the text encoders.
    pub(crate) fn check_embeddings(&self, embeddings: &[Embedding]) -> Result<(), Error> {
        let text = self.text()?;
        let readers = text.iter().map(|(tokenizer, part)| Reader::new(tokenizer, &part.config));
        embeddings::check(self.profile, &readers.collect::<Vec<_>>(), embeddings)
    }

    /// Makes sure that a ControlNet guides the UNet, in pictures of the VAE's size.
    pub(crate) fn check_controlnet(&self, controlnet: &ControlNetConfig) -> Result<(), Error> {
        controlnet.check_fits(&self.unet()?.config)?;
        let (own, factor) = (controlnet.pixels_per_latent(), self.vae()?.config.factor());
        if own == factor {
            return Ok(());
        }
        let (expected, found) = (
            format!("{factor}, as the VAE has"),
            format!("{own} pixels of its image for one of the latents"),
        );
        Err(Error::Misfit { network: "ControlNet", expected, found })
    }
}

fn of_another_family(own: Family, found: Family) -> Error {
    let (expected, found) = (format!("those of {own}, the model's family"), format!("the layers of {found}"));
    Error::Misfit { network: "UNet", expected, found }
}

/// A network's configuration and where its weights are.
#[derive(Debug)]
pub(crate) struct Part<C> {
    pub(crate) config: C,
    pub(crate) weights: Weights,
}

/// A network's weights, before they are opened.
#[derive(Debug)]
pub(crate) enum Weights {
    /// In a folder, which may hold several variants of them.
    Folder(Component),
    /// Opened already.
    Source(SharedSource),
}

impl<C> Part<C> {
    /// A folder's configuration is `read`, as is that beside a file; a file that stands alone is `recognised`.
    pub(crate) fn open(
        location: &Location,
        read: impl Fn(&Component) -> Result<C, Error>,
        recognised: impl FnOnce() -> Result<Self, Error>,
    ) -> Result<Self, Error> {
        if location.is_dir() {
            let component = Component::open(location)?;
            return Ok(Self { config: read(&component)?, weights: Weights::Folder(component) });
        }
        match location.parent().filter(|folder| folder.join("config.json").is_file()) {
            Some(folder) => Ok(Self {
                config: read(&Component::open(folder)?)?,
                weights: Weights::Source(Arc::new(WeightFile::open(location)?)),
            }),
            None => recognised(),
        }
    }
}

/// Folders hold diffusers' names, except that VAEs saved before 2023 call their attention otherwise.
fn canonical(source: SharedSource) -> Result<SharedSource, Error> {
    match source.info("decoder.mid_block.attentions.0.proj_attn.weight") {
        Some(_) => Ok(SingleFile::read(source.clone(), None)?.vae.map_or(source, |vae| vae.weights)),
        None => Ok(source),
    }
}

impl Weights {
    pub(crate) fn open(&self, variant: &Variant) -> Result<SharedSource, Error> {
        Ok(match self {
            Self::Folder(component) => canonical(component.weights(variant)?)?,
            Self::Source(source) => source.clone(),
        })
    }
}
