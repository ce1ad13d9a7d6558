//! The weight of a file in each network.

/// The weight of a file in each network, as diffusers' `set_adapters` takes it. A lone `f32` is the same for all.
///
/// 1 is what the file was trained for; 0 leaves the network as it is, bit for bit; negative takes away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// In the UNet.
    pub unet: f32,
    /// In the first or only text encoder.
    pub text_encoder: f32,
    /// In SDXL's second text encoder.
    pub text_encoder_2: f32,
}

impl From<f32> for Weights {
    fn from(weight: f32) -> Self {
        Self { unet: weight, text_encoder: weight, text_encoder_2: weight }
    }
}

impl Weights {
    pub(crate) fn are_finite(&self) -> bool {
        [self.unet, self.text_encoder, self.text_encoder_2].iter().all(|weight| weight.is_finite())
    }
}

impl std::fmt::Display for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { unet, text_encoder, text_encoder_2 } = self;
        if unet == text_encoder && unet == text_encoder_2 {
            return write!(f, "{unet}");
        }
        write!(f, "unet {unet}, text encoders {text_encoder} and {text_encoder_2}")
    }
}
