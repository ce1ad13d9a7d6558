//! The parts of a model: each network's configuration, and where its weights are.

use std::{mem, sync::Arc};

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
    Error, Request,
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
    /// The family's text encoders, in their order.
    pub(crate) text: Vec<(Tokenizer, Part<ClipTextConfig>)>,
    pub(crate) unet: Part<UNetConfig>,
    /// What is added to the UNet's weights, and how much of it.
    pub(crate) difference: Option<(Part<UNetConfig>, f32)>,
    pub(crate) vae: Part<AutoencoderConfig>,
    pub(crate) defaults: Defaults,
    /// `force_zeros_for_empty_prompt`
    pub(crate) zero_negative: bool,
}

impl Parts {
    /// Reads the configurations of a model in a folder or a file.
    pub(crate) fn open(model: &Location) -> Result<Self, Error> {
        match model.is_file() {
            true => checkpoint::open(model),
            false => folder::open(&ModelFolder::open(model)?),
        }
    }

    /// The networks that a LoRA can change, with their untouched weights: the UNet, then the text encoders.
    pub(crate) fn bases(&self, variant: &Variant) -> Result<Vec<Base>, Error> {
        let family = Some(self.profile.family);
        let mut bases = vec![Base { prefix: UNET_PREFIX, family, source: self.unet_weights(variant)? }];
        for (traits, (_, part)) in self.profile.text_encoders.iter().zip(&self.text) {
            let source = part.weights.open(variant)?;
            let renames = canonical_names(source.names());
            let source = Arc::new(Renamed::new(source, renames)?);
            bases.push(Base { prefix: traits.lora_prefix, family, source });
        }
        Ok(bases)
    }

    fn unet_weights(&self, variant: &Variant) -> Result<SharedSource, Error> {
        let own = self.unet.weights.open(variant)?;
        match &self.difference {
            Some((part, weight)) => {
                Ok(Arc::new(WithDifference::new(own, part.weights.open(variant)?, *weight)?))
            }
            None => Ok(own),
        }
    }

    /// These networks, each with the source of its weights, which are still to be read. The tokenizers go with them.
    pub(crate) fn predicting(
        &mut self,
        sources: Vec<Arc<Merged>>,
        options: &LoadOptions,
        numbers: Numbers,
        leftovers: &Leftovers,
    ) -> Result<(PromptEncoder, Network<Denoiser, Merged>), Error> {
        let mut sources = sources.into_iter();
        let mut next_source = || sources.next().expect("one source for each base");
        let denoiser = Denoiser::new(&self.unet.config, &options.device)?;
        let denoiser = Network::new(denoiser, next_source(), options.clone(), numbers.denoiser, leftovers)?;
        let Self { profile, zero_negative, .. } = *self;
        let others = &LoadOptions { dtype: numbers.others_dtype, ..options.clone() };
        let others = (others, numbers.others);
        let mut encoders = Vec::new();
        for (traits, (tokenizer, part)) in profile.text_encoders.iter().zip(mem::take(&mut self.text)) {
            let source = next_source();
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
        let wanted =
            check_condition(&self.unet.config, self.profile, self.text.iter().map(|(_, part)| &part.config))
                .and_then(|()| FurtherInput::of(&self.unet.config, base.vae.config.latent_channels()))?;
        match wanted {
            FurtherInput::None => Ok(()),
            _ => misfit(
                "as many as the latents have".into(),
                format!("{} channels in", self.unet.config.in_channels),
            ),
        }
    }

    /// Makes sure that a UNet is of the model's family.
    pub(crate) fn check_family(&self, unet: &UNetConfig) -> Result<(), Error> {
        let (own, family) = (self.profile.family, unet.family());
        if own == family {
            return Ok(());
        }
        let (expected, found) =
            (format!("those of {own}, the model's family"), format!("the layers of {family}"));
        Err(Error::Misfit { network: "UNet", expected, found })
    }

    /// Makes sure that the UNet reads the states of the text encoders, and that it and the VAE speak of the same latents;
    /// and says what it wants beside them.
    pub(crate) fn check_fit(&self) -> Result<FurtherInput, Error> {
        let unet = &self.unet.config;
        check_condition(unet, self.profile, self.text.iter().map(|(_, part)| &part.config))?;
        FurtherInput::of(unet, self.vae.config.latent_channels())
    }

    /// Makes sure that the text encoders can read the prompts of a request.
    pub(crate) fn check_prompts(&self, request: &Request) -> Result<(), Error> {
        let layers = self.text.iter().map(|(_, part)| part.config.num_hidden_layers);
        check_clip_skip(request, self.profile, layers)
    }

    /// Makes sure that embeddings are for the text encoders.
    pub(crate) fn check_embeddings(&self, embeddings: &[Embedding]) -> Result<(), Error> {
        let readers = self.text.iter().map(|(tokenizer, part)| Reader::new(tokenizer, &part.config));
        embeddings::check(self.profile, &readers.collect::<Vec<_>>(), embeddings)
    }

    /// Makes sure that a ControlNet guides the UNet, in pictures of the VAE's size.
    pub(crate) fn check_controlnet(&self, controlnet: &ControlNetConfig) -> Result<(), Error> {
        controlnet.check_fits(&self.unet.config)?;
        let (own, factor) = (controlnet.pixels_per_latent(), self.vae.config.factor());
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
