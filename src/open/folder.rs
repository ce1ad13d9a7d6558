//! A model in diffusers' folder layout: which components it has, and what their configurations say.

use hypersd_core::{Component, Family, ModelFolder};
use hypersd_models::{
    Numbers, Profile, TextProfile,
    clip::{ClipTextConfig, Tokenizer, TokenizerFiles},
    unet::UNetConfig,
};
use serde::Deserialize;

use super::parts::{Part, Parts, TextPart, Weights};
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

/// Reads all configurations of a folder. What it lacks may be given beside it.
pub(crate) fn open(folder: &ModelFolder) -> Result<Parts, Error> {
    let (unet, vae) = (component(folder, "unet")?, component(folder, "vae")?);
    let config = unet.as_ref().map(unet_config).transpose()?;
    let family = config.as_ref().map_or_else(|| family_by_encoders(folder), |config| Ok(config.family()))?;
    let profile = Profile::of(family).ok_or_else(|| Error::Unsupported {
        origin: folder.location().to_string(),
        found: family.to_string(),
        instead: "use a Stable Diffusion 1.x, 2.x or XL model".into(),
    })?;
    let mut text = Vec::new();
    for traits in profile.text_encoders {
        text.push(text_encoder(folder, traits)?);
    }
    let autoencoder = vae.as_ref().map(AutoencoderConfig::of).transpose()?;
    let factor = autoencoder.as_ref().map_or_else(|| (profile.vae)().factor(), AutoencoderConfig::factor);
    let native_cells = unet.as_ref().map(native_cells).transpose()?.flatten();
    let settings: Settings = folder.config()?;
    // The families that are told no numbers do not know the setting.
    let zero_negative = settings.force_zeros_for_empty_prompt.filter(|_| profile.numbers != Numbers::None);
    let part = |weights| Weights::Folder(weights);
    Ok(Parts {
        profile,
        origin: folder.location().to_string(),
        text,
        defaults: Defaults {
            sampling: Sampling::open(profile, folder.component("scheduler")?.as_ref())?,
            native_cells: native_cells.unwrap_or_else(|| profile.native_cells(factor)),
        },
        unet: config.zip(unet).map(|(config, unet)| Part { config, weights: part(unet) }),
        difference: None,
        vae: autoencoder.zip(vae).map(|(config, vae)| Part { config, weights: part(vae) }),
        zero_negative: zero_negative.unwrap_or(profile.zero_negative),
    })
}

/// The family of a folder without a UNet: the first whose text encoders are all that the index lists.
fn family_by_encoders(folder: &ModelFolder) -> Result<Family, Error> {
    let listed = |traits: &TextProfile| folder.lists(traits.encoder);
    let fitting = Profile::all().filter(|profile| profile.text_encoders.iter().all(listed));
    let most = fitting.reduce(
        |best, next| {
            if next.text_encoders.len() > best.text_encoders.len() { next } else { best }
        },
    );
    most.map(|profile| profile.family).ok_or_else(|| Error::Unsupported {
        origin: folder.location().to_string(),
        found: "model_index.json lists neither a UNet nor a text encoder".into(),
        instead: "use a Stable Diffusion folder".into(),
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
fn text_encoder(folder: &ModelFolder, traits: &TextProfile) -> Result<TextPart, Error> {
    let part = component(folder, traits.encoder)?
        .map(|encoder| text_config(&encoder).map(|config| Part { config, weights: Weights::Folder(encoder) }))
        .transpose()?;
    let tokenizer = match (component(folder, traits.tokenizer)?, &part) {
        (Some(component), _) => Some(read_tokenizer(&component)?),
        (None, Some(part)) => Some((traits.own_tokenizer)(part.config.vocab_size)?),
        (None, None) => None,
    };
    Ok(TextPart { tokenizer, part })
}

/// A text encoder's configuration, checked.
pub(crate) fn text_config(component: &Component) -> Result<ClipTextConfig, Error> {
    let config: ClipTextConfig = component.config()?;
    config.validate().map_err(Error::config(component.location()))?;
    Ok(config)
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

/// A component, which a model may leave out to be given beside it, in its index or by having no folder of the name.
fn component(folder: &ModelFolder, name: &'static str) -> Result<Option<Component>, Error> {
    match folder.location().join(name).is_dir() {
        true => Ok(folder.component(name)?),
        false => Ok(None),
    }
}
