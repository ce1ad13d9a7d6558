//! The parts of a model: each network's configuration, and where its weights are.

use std::sync::Arc;

use hypersd_core::{Component, Location, SharedSource, Variant, WeightFile};
use hypersd_models::{
    Profile, SingleFile,
    clip::{ClipTextConfig, Tokenizer},
    controlnet::ControlNetConfig,
    unet::UNetConfig,
};

use crate::{
    Error, Request,
    draw::{AutoencoderConfig, Defaults, FurtherInput, check_clip_skip, check_condition},
    embeddings::{self, Embedding, Reader},
};

/// Everything a pipeline is made of, opened but not loaded.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The traits that the model shares with all of its family.
    pub(crate) profile: &'static Profile,
    /// The family's text encoders, in their order.
    pub(crate) text: Vec<(Tokenizer, Part<ClipTextConfig>)>,
    pub(crate) unet: Part<UNetConfig>,
    pub(crate) vae: Part<AutoencoderConfig>,
    pub(crate) defaults: Defaults,
    /// `force_zeros_for_empty_prompt`
    pub(crate) zero_negative: bool,
}

impl Parts {
    /// Makes sure that the UNet is of the model's family.
    pub(crate) fn check_family(&self) -> Result<(), Error> {
        let (own, family) = (self.profile.family, self.unet.config.family());
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
