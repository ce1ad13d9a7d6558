//! A model in one file: its configurations are read off the shapes, the rest is the family's.

use hypersd_core::Location;
use hypersd_models::{Profile, SingleFile};

use super::{
    parts::{Part, Parts, TextPart, Weights},
    tell_of_leftovers,
};
use crate::{
    Error, Notice,
    draw::{AutoencoderConfig, Defaults, Sampling},
};

/// Recognises the networks of a file. What it lacks may be given beside it; what nobody has a place for is a notice.
pub(crate) fn open(location: &Location, pending: &mut Vec<Notice>) -> Result<Parts, Error> {
    let file = SingleFile::open(location)?;
    let profile = file.family.and_then(Profile::of).filter(|_| file.controlnet.is_none());
    let profile = profile.ok_or_else(|| Error::Unsupported {
        origin: location.to_string(),
        found: "a part of a model".into(),
        instead: "give it as the UNet, the VAE or the ControlNet of a whole one".into(),
    })?;
    let sampling = Sampling::of_file(profile, &file, location);
    let SingleFile { unet, vae, text_encoders, text_places, left_over, .. } = file;
    tell_of_leftovers(location, left_over, pending);
    let mut text: Vec<_> =
        profile.text_encoders.iter().map(|_| TextPart { tokenizer: None, part: None }).collect();
    for (place, encoder) in text_places.into_iter().zip(text_encoders) {
        let Some(traits) = profile.text_encoders.get(place) else { continue };
        let tokenizer = Some((traits.own_tokenizer)(encoder.config.vocab_size)?);
        text[place] = TextPart { tokenizer, part: Some(part(encoder)) };
    }
    let vae = vae
        .map(|vae| Part { config: AutoencoderConfig::Kl(vae.config), weights: Weights::Source(vae.weights) });
    let factor = vae.as_ref().map_or_else(|| (profile.vae)().factor(), |vae| vae.config.factor());
    Ok(Parts {
        profile,
        origin: location.to_string(),
        text,
        unet: unet.map(part),
        difference: None,
        vae,
        defaults: Defaults { sampling, native_cells: profile.native_cells(factor) },
        zero_negative: profile.zero_negative,
    })
}

/// A network of a file.
fn part<C>(part: hypersd_models::Part<C>) -> Part<C> {
    Part { config: part.config, weights: Weights::Source(part.weights) }
}
