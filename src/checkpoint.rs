//! A model in one file: its configurations are read off the shapes, the rest is the family's.

use hypersd_core::Location;
use hypersd_models::{
    Family, SingleFile,
    clip::{ClipTextConfig, Tokenizer},
};

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
    let sampling = Sampling::of_file(&file, location);
    let SingleFile { family, prediction, unet, vae, text_encoder, text_encoder_2, .. } = file;
    let (Some(family), Some(unet), Some(vae), Some(text_encoder)) = (family, unet, vae, text_encoder) else {
        return Err(Error::Unsupported {
            origin: location.to_string(),
            found: "a part of a model".into(),
            instead: "give it as the UNet or the VAE of a whole one".into(),
        });
    };
    if prediction.is_none() {
        return Err(Error::Unsupported {
            origin: location.to_string(),
            found: format!("{family}, whose file does not say whether it predicts noise or velocity"),
            instead: "use the model's diffusers folder, which says it".into(),
        });
    }
    let first = match family {
        Family::Sd2 => Tokenizer::open_clip_of(text_encoder.config.vocab_size), // pads with `!`
        _ => Tokenizer::clip_l_of(text_encoder.config.vocab_size),
    };
    let mut text = vec![(first?, text_part(text_encoder))];
    if let Some(second) = text_encoder_2 {
        text.push((Tokenizer::open_clip_of(second.config.vocab_size)?, text_part(second)));
    }
    let side = match family {
        Family::Sdxl => 1024,
        _ => 512,
    };
    Ok(Parts {
        zero_negative: text.len() > 1,
        text,
        unet: Part { config: unet.config, weights: Weights::Source(unet.weights) },
        vae: Part { config: DecoderConfig::Kl(vae.config), weights: Weights::Source(vae.weights) },
        sampling,
        native_size: [side, side],
    })
}

fn text_part(part: hypersd_models::Part<ClipTextConfig>) -> Part<ClipTextConfig> {
    Part { config: part.config, weights: Weights::Source(part.weights) }
}
