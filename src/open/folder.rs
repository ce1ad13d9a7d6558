//! A model in diffusers' folder layout: which components it has, and what their configurations say.

use hypersd_core::{Component, ModelFolder};
use hypersd_models::{
    Numbers, Profile, TextProfile,
    clip::{ClipTextConfig, Tokenizer, TokenizerFiles},
    unet::UNetConfig,
};
use serde::Deserialize;

use super::parts::{Part, Parts, Weights};
use crate::{
    Error,
    draw::{AutoencoderConfig, Defaults, Sampling},
};

/// The settings beside the components in `model_index.json`.
#[derive(Debug, Deserialize)]
struct Settings {
    /// SDXL's pipelines take it for true where it is absent, its published refiner says false; the others do not know it.
    force_zeros_for_empty_prompt: Option<bool>,
}

/// Reads all configurations of a folder.
pub(crate) fn open(folder: &ModelFolder) -> Result<Parts, Error> {
    let (unet, vae) = (required(folder, "unet")?, required(folder, "vae")?);
    let config = unet_config(&unet)?;
    let profile = Profile::of(config.family()).ok_or_else(|| Error::Unsupported {
        origin: folder.location().to_string(),
        found: config.family().to_string(),
        instead: "use a Stable Diffusion 1.x, 2.x or XL model".into(),
    })?;
    let mut text = Vec::new();
    for traits in profile.text_encoders {
        text.push(text_encoder(folder, traits)?);
    }
    let autoencoder = AutoencoderConfig::of(&vae)?;
    let settings: Settings = folder.config()?;
    // The families that are told no numbers do not know the setting.
    let zero_negative = settings.force_zeros_for_empty_prompt.filter(|_| profile.numbers != Numbers::None);
    Ok(Parts {
        profile,
        text,
        defaults: Defaults {
            sampling: Sampling::open(profile, folder.component("scheduler")?.as_ref())?,
            native_cells: native_cells(&unet)?.unwrap_or_else(|| profile.native_cells(autoencoder.factor())),
        },
        unet: Part { config, weights: Weights::Folder(unet) },
        difference: None,
        vae: Part { config: autoencoder, weights: Weights::Folder(vae) },
        zero_negative: zero_negative.unwrap_or(profile.zero_negative),
    })
}

/// A UNet's configuration, checked.
pub(crate) fn unet_config(component: &Component) -> Result<UNetConfig, Error> {
    let config: UNetConfig = component.config()?;
    config.validate().map_err(Error::config(component.location()))?;
    Ok(config)
}

/// Height and width in latents of the pictures that a UNet's configuration names (`sample_size`).
fn native_cells(unet: &Component) -> Result<Option<[usize; 2]>, Error> {
    /// One number, or height and width.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum SampleSize {
        Square(usize),
        HeightWidth([usize; 2]),
    }
    #[derive(Deserialize)]
    struct Config {
        sample_size: Option<SampleSize>,
    }
    Ok(unet.config::<Config>()?.sample_size.map(|size| match size {
        SampleSize::Square(side) => [side, side],
        SampleSize::HeightWidth(size) => size,
    }))
}

/// A text encoder with its tokenizer; a model without a tokenizer's folder gets the family's.
fn text_encoder(
    folder: &ModelFolder,
    traits: &TextProfile,
) -> Result<(Tokenizer, Part<ClipTextConfig>), Error> {
    let encoder = required(folder, traits.encoder)?;
    let config: ClipTextConfig = encoder.config()?;
    config.validate().map_err(Error::config(encoder.location()))?;
    let tokenizer = match folder.component(traits.tokenizer)? {
        Some(component) => read_tokenizer(&component)?,
        None => (traits.own_tokenizer)(config.vocab_size)?,
    };
    Ok((tokenizer, Part { config, weights: Weights::Folder(encoder) }))
}

fn read_tokenizer(component: &Component) -> Result<Tokenizer, Error> {
    let text = |name| component.text(name);
    let tokenizer = text("tokenizer.json")?;
    let vocab = text("vocab.json")?;
    let merges = text("merges.txt")?;
    let tokenizer_config = text("tokenizer_config.json")?;
    let special_tokens_map = text("special_tokens_map.json")?;
    let added_tokens = text("added_tokens.json")?;
    let files = TokenizerFiles {
        tokenizer: tokenizer.as_deref(),
        vocab: vocab.as_deref(),
        merges: merges.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        added_tokens: added_tokens.as_deref(),
    };
    Tokenizer::from_files(&files).map_err(Error::config(component.location()))
}

/// A component that every model must have.
fn required(folder: &ModelFolder, name: &'static str) -> Result<Component, Error> {
    folder.component(name)?.ok_or_else(|| Error::Unsupported {
        origin: folder.location().to_string(),
        found: format!("model_index.json lists no {name}"),
        instead: "use a complete Stable Diffusion folder".into(),
    })
}
