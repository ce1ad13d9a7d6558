//! What a picture was started from, as pictures keep it.

use hypersd_core::Image;
use serde::{Deserialize, Serialize};

use crate::{Request, Start, StartStrength, Steps, digest::sha256};

/// Digits of a picture's hash, as of a weight file's.
const DIGITS: usize = 10;

/// The start of a drawing that was not noise. Its kind is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StartRecord {
    /// The kind of start: `picture` for image to image.
    pub kind: String,
    /// The pictures: the first 10 digits of the SHA-256 of their bytes, row by row, RGB.
    #[serde(default)]
    pub pictures: Vec<String>,
    /// The number of steps that the request named, of which a strength takes the last; `None` where it named timesteps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The share of the steps that were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The share of the noise schedule below which all steps were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_level: Option<f64>,
}

impl StartRecord {
    /// A start of a kind, of which nothing else is known.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), pictures: Vec::new(), steps: None, strength: None, noise_level: None }
    }

    /// The start of a request; `None` for noise.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let kind = match &request.start {
            Start::Noise => return None,
            Start::Picture { .. } => "picture",
        };
        let (strength, noise_level) = match request.start.strength()? {
            StartStrength::Share(share) => (Some(share), None),
            StartStrength::Level(level) => (None, Some(level)),
        };
        let steps = match request.steps {
            Steps::Count(count) => Some(count),
            _ => None,
        };
        let pictures = request.start.images().iter().map(digits).collect();
        Some(Self { pictures, steps, strength, noise_level, ..Self::new(kind) })
    }

    /// The pairs of the web UI's text.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let strength = self.strength.map(|x| ("Denoising strength", x.to_string()));
        let level = self.noise_level.map(|x| ("Noise level", x.to_string()));
        strength.into_iter().chain(level).collect()
    }
}

/// The first digits of a picture's hash.
fn digits(image: &Image) -> String {
    let mut digits = sha256(image.rgb8()).expect("bytes in memory");
    digits.truncate(DIGITS);
    digits
}
