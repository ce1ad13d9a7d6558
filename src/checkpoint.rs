//! A model in one file: its configurations are read off the shapes, the rest is the family's.

use hypersd_core::Location;
use hypersd_models::{Profile, SingleFile, clip::ClipTextConfig};

use crate::{
    Error,
    decoder::DecoderConfig,
    open::Parts,
    part::{Part, Weights},
    sampling::Sampling,
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
    let SingleFile { prediction, unet, vae, text_encoder, text_encoder_2, .. } = file;
    let (Some(unet), Some(vae)) = (unet, vae) else { return Err(incomplete()) };
    if prediction.is_none() {
        return Err(Error::Unsupported {
            origin: location.to_string(),
            found: format!(
                "{}, whose file does not say whether it predicts noise or velocity",
                profile.family
            ),
            instead: "use the model's diffusers folder, which says it".into(),
        });
    }
    let mut encoders = [text_encoder, text_encoder_2].into_iter().flatten();
    let mut text = Vec::new();
    for traits in profile.text_encoders {
        let encoder = encoders.next().ok_or_else(incomplete)?;
        let tokenizer = (traits.own_tokenizer)(encoder.config.vocab_size)?;
        text.push((tokenizer, text_part(encoder)));
    }
    Ok(Parts {
        profile,
        text,
        unet: Part { config: unet.config, weights: Weights::Source(unet.weights) },
        vae: Part { config: DecoderConfig::Kl(vae.config), weights: Weights::Source(vae.weights) },
        sampling,
        native_size: [profile.native_side; 2],
        zero_negative: profile.zero_negative,
    })
}

fn text_part(part: hypersd_models::Part<ClipTextConfig>) -> Part<ClipTextConfig> {
    Part { config: part.config, weights: Weights::Source(part.weights) }
}
