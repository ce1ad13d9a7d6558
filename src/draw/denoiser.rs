//! The network that predicts the noise in noisy latents, and all that it takes to do so.

use burn::tensor::{Device, Tensor};
use hypersd_core::slots;
use hypersd_models::{
    Profile,
    clip::ClipTextConfig,
    unet::{Conditioning, Residuals, UNet, UNetConfig},
};

use crate::{Error, Start};

/// A network that predicts noise (or velocity, or the clean latents) in latents: one variant for each architecture.
#[derive(Debug, Clone)]
pub(crate) enum Denoiser {
    UNet(UNet),
}

slots!(Denoiser: UNet);

/// The channels that a denoiser's first layer is given beside the noisy latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FurtherInput {
    None,
    /// A mask of one channel and the latents of the picture without what is under it: inpainting.
    MaskedPicture,
    /// The latents of the picture that is to be changed: InstructPix2Pix.
    Picture,
}

/// Features of all that conditions a denoiser: it reads them, the text encoders make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    /// Of a token, for cross-attention.
    context: usize,
    /// Of a picture, to join the time embedding.
    added: usize,
}

impl Denoiser {
    /// A network whose parameters wait to be loaded.
    pub(crate) fn new(config: &UNetConfig, device: &Device) -> Result<Self, Error> {
        Ok(Self::UNet(UNet::new(config, device)?))
    }

    /// True where the network is told the guidance scale, and predicts what guidance would make of two predictions.
    pub(crate) fn is_told_guidance(&self) -> bool {
        match self {
            Self::UNet(unet) => unet.config().time_cond_proj_dim.is_some(),
        }
    }

    /// The prediction for noisy latents.
    ///
    /// # Shapes
    /// - x `[B, 4, h, w]` → the same
    pub(crate) fn predict(
        &self,
        x: Tensor<4>,
        t: f32,
        condition: &Conditioning,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        match self {
            Self::UNet(unet) => Ok(unet.forward(x, &[t], condition, residuals)?),
        }
    }
}

impl FurtherInput {
    /// The further input of a UNet beside latents of so many channels; an error for channels that nothing is known to fill.
    pub(crate) fn of(unet: &UNetConfig, latent_channels: usize) -> Result<Self, Error> {
        let misfit = |expected: String| Error::Misfit {
            network: "UNet",
            expected,
            found: format!("{} in and {} out", unet.in_channels, unet.out_channels),
        };
        if unet.out_channels != latent_channels {
            return Err(misfit(format!("{latent_channels} channels out, as the VAE's latents have")));
        }
        match unet.in_channels.checked_sub(latent_channels) {
            Some(0) => Ok(Self::None),
            Some(further) if further == latent_channels => Ok(Self::Picture),
            Some(further) if further == latent_channels + 1 => Ok(Self::MaskedPicture),
            _ => Err(misfit(format!(
                "{latent_channels} channels in, or with a picture or a mask and a picture beside them"
            ))),
        }
    }

    /// Refuses a start that has not what the denoiser wants, or has something that it does not take.
    pub(crate) fn check(self, start: &Start) -> Result<(), Error> {
        let (found, expected) = match (self, start) {
            (Self::None, Start::Noise | Start::Picture { .. } | Start::Masked { .. })
            | (Self::MaskedPicture, Start::Masked { .. })
            | (Self::Picture, Start::Change { .. }) => return Ok(()),
            (Self::None, Start::Change { .. }) => {
                ("a UNet that was not made to change pictures", "noise, a picture, or a picture and a mask")
            }
            (Self::MaskedPicture, _) => ("an inpainting UNet", "a mask and a picture"),
            (Self::Picture, _) => ("an InstructPix2Pix UNet", "a picture to change"),
        };
        Err(Error::FurtherInput { found, expected })
    }
}

impl Condition {
    /// The features that a UNet reads.
    fn read_by(unet: &UNetConfig) -> Self {
        let added = unet.addition_embed_type.as_ref().and(unet.projection_class_embeddings_input_dim);
        Self { context: unet.cross_attention_dim.at(0), added: added.unwrap_or(0) }
    }

    /// The features that a family's text encoders make, with what the UNet makes of the picture's numbers.
    fn made_by<'a>(
        profile: &Profile,
        encoders: impl Iterator<Item = &'a ClipTextConfig>,
        unet: &UNetConfig,
    ) -> Self {
        let mut made =
            Self { context: 0, added: profile.numbers.count() * unet.addition_time_embed_dim.unwrap_or(0) };
        for (traits, encoder) in profile.text_encoders.iter().zip(encoders) {
            made.context += encoder.hidden_size;
            if traits.pooled && encoder.with_projection {
                made.added += encoder.projection_dim;
            }
        }
        made
    }
}

/// Makes sure that a UNet reads what the text encoders of its model make.
pub(crate) fn check_condition<'a>(
    unet: &UNetConfig,
    profile: &Profile,
    encoders: impl Iterator<Item = &'a ClipTextConfig>,
) -> Result<(), Error> {
    let (read, made) = (Condition::read_by(unet), Condition::made_by(profile, encoders, unet));
    let misfit = |expected, found| Err(Error::Misfit { network: "UNet", expected, found });
    if read.context != made.context {
        return misfit(
            format!("as many as the text encoders make, {}", made.context),
            format!("cross-attention that reads {} features", read.context),
        );
    }
    if read.added != made.added {
        return misfit(
            format!(
                "as many as the pooled prompt and {} numbers make, {}",
                profile.numbers.count(),
                made.added
            ),
            format!("an add_embedding that reads {} features", read.added),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(in_channels: usize, out_channels: usize) -> Result<FurtherInput, Error> {
        FurtherInput::of(&UNetConfig { in_channels, out_channels, ..UNetConfig::sd15() }, 4)
    }

    #[test]
    fn further_channels_say_what_a_unet_is_for() {
        assert_eq!(of(4, 4).expect("text to image"), FurtherInput::None);
        assert_eq!(of(9, 4).expect("inpainting"), FurtherInput::MaskedPicture);
        assert_eq!(of(8, 4).expect("InstructPix2Pix"), FurtherInput::Picture);
        for (given, returned) in [(5, 4), (3, 4), (16, 16), (4, 8)] {
            let error = of(given, returned).expect_err("nothing fills these").to_string();
            assert!(error.contains(&format!("{given} in and {returned} out")), "{error}");
        }
    }
}
