//! What a picture was started from, as pictures keep it.

use hypersd_core::Image;
use serde::{Deserialize, Serialize};

use crate::{Mask, Request, Start, StartStrength, Steps, digest::sha256};

/// Digits of a picture's hash, as of a weight file's.
const DIGITS: usize = 10;

/// The start of a drawing that was not noise. Its kind is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StartRecord {
    /// The kind of start: `picture` for image to image, `masked` for inpainting, `change` for InstructPix2Pix.
    pub kind: String,
    /// The pictures: the first 10 digits of the SHA-256 of their bytes, row by row, RGB.
    #[serde(default)]
    pub pictures: Vec<String>,
    /// The number of steps that the request named, of which a strength takes the last; `None` where it named timesteps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The timesteps that the request named, of which a strength takes the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timesteps: Option<Vec<usize>>,
    /// The share of the steps that were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The share of the noise schedule below which all steps were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_level: Option<f64>,
    /// The mask, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskRecord>,
    /// How closely a picture that was to be changed was kept to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_guidance: Option<f64>,
}

/// A mask and its settings. Its hash is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MaskRecord {
    /// The first 10 digits of the SHA-256 of the mask's bytes, row by row, RGB.
    pub picture: String,
    /// The radius by which it was blurred.
    #[serde(default)]
    pub blur: f64,
    /// The pixels around the mask that were drawn with it, where only its surroundings were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<usize>,
}

impl MaskRecord {
    /// A mask as it is, by its hash.
    #[must_use]
    pub fn new(picture: impl Into<String>) -> Self {
        Self { picture: picture.into(), blur: 0.0, crop: None }
    }
}

impl StartRecord {
    /// A start of a kind, of which nothing else is known.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            pictures: Vec::new(),
            steps: None,
            timesteps: None,
            strength: None,
            noise_level: None,
            mask: None,
            image_guidance: None,
        }
    }

    /// The start of a request; `None` for noise.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let kind = match &request.start {
            Start::Noise => return None,
            Start::Picture { .. } => "picture",
            Start::Masked { .. } => "masked",
            Start::Change { .. } => "change",
        };
        let (strength, noise_level) = match request.start.strength() {
            Some(StartStrength::Share(share)) => (Some(share), None),
            Some(StartStrength::Level(level)) => (None, Some(level)),
            None => (None, None),
        };
        let mask = match &request.start {
            Start::Masked { mask: Mask { image, blur, crop }, .. } => {
                Some(MaskRecord { picture: digits(image), blur: f64::from(*blur), crop: *crop })
            }
            _ => None,
        };
        let image_guidance = match request.start {
            Start::Change { image_guidance, .. } => Some(image_guidance),
            _ => None,
        };
        let (steps, timesteps) = match &request.steps {
            Steps::Count(count) => (Some(*count), None),
            Steps::Timesteps(timesteps) => (None, Some(timesteps.clone())),
            _ => (None, None),
        };
        let pictures = request.start.images().iter().map(digits).collect();
        Some(Self {
            pictures,
            steps,
            timesteps,
            strength,
            noise_level,
            mask,
            image_guidance,
            ..Self::new(kind)
        })
    }

    /// The pairs of the web UI's text.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let strength = self.strength.map(|x| ("Denoising strength", x.to_string()));
        let level = self.noise_level.map(|x| ("Noise level", x.to_string()));
        let guidance = self.image_guidance.map(|x| ("Image CFG scale", x.to_string()));
        let blur = self.mask.as_ref().map(|mask| ("Mask blur", mask.blur.to_string()));
        let crop = self.mask.as_ref().and_then(|mask| mask.crop);
        let crop = crop.map(|crop| ("Masked area padding", crop.to_string()));
        [guidance, strength, level, blur, crop].into_iter().flatten().collect()
    }
}

/// The first digits of a picture's hash.
fn digits(image: &Image) -> String {
    let mut digits = sha256(image.rgb8()).expect("bytes in memory");
    digits.truncate(DIGITS);
    digits
}
