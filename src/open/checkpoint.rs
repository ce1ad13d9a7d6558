//! A model in one file: its configurations are read off the shapes, the rest is the family's.

use hypersd_core::Location;
use hypersd_models::{Profile, SingleFile, clip::ClipTextConfig};

use super::parts::{Part, Parts, Weights};
use crate::{
    Error,
    draw::{AutoencoderConfig, Defaults, Sampling},
};

/// Recognises the networks of a file and checks that it is a whole model.
pub(crate) fn open(location: &Location) -> Result<Parts, Error> {
    let file = SingleFile::open(location)?;
    let incomplete = || Error::Unsupported {
        origin: location.to_string(),
        found: "a part of a model".into(),
        instead: "give it as the UNet or the VAE of a whole one".into(),
    };
    let profile = file.family.and_then(Profile::of).ok_or_else(incomplete)?;
    let sampling = Sampling::of_file(profile, &file, location);
    let SingleFile { unet, vae, text_encoders, .. } = file;
    let (Some(unet), Some(vae)) = (unet, vae) else { return Err(incomplete()) };
    if text_encoders.len() != profile.text_encoders.len() {
        return Err(incomplete());
    }
    let mut text = Vec::new();
    for (traits, encoder) in profile.text_encoders.iter().zip(text_encoders) {
        let tokenizer = (traits.own_tokenizer)(encoder.config.vocab_size)?;
        text.push((tokenizer, text_part(encoder)));
    }
    let autoencoder = AutoencoderConfig::Kl(vae.config);
    let native_cells = profile.native_cells(autoencoder.factor());
    Ok(Parts {
        profile,
        text,
        unet: Part { config: unet.config, weights: Weights::Source(unet.weights) },
        difference: None,
        vae: Part { config: autoencoder, weights: Weights::Source(vae.weights) },
        defaults: Defaults { sampling, native_cells },
        zero_negative: profile.zero_negative,
    })
}

fn text_part(part: hypersd_models::Part<ClipTextConfig>) -> Part<ClipTextConfig> {
    Part { config: part.config, weights: Weights::Source(part.weights) }
}
