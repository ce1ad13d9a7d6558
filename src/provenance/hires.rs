//! The second drawing of a picture, as pictures keep it.

use serde::{Deserialize, Serialize};

use crate::{Hires, StartStrength, Steps};

/// A second, larger drawing. Its scale is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HiresRecord {
    /// How many times as large.
    pub scale: f64,
    /// The share of the steps that were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// The share of the noise schedule below which all steps were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_level: Option<f64>,
    /// The number of steps, where it was not that of the first drawing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
}

impl HiresRecord {
    /// A drawing so many times as large, of which nothing else is known.
    #[must_use]
    pub fn new(scale: f64) -> Self {
        Self { scale, strength: None, noise_level: None, steps: None }
    }

    pub(super) fn of(hires: &Hires) -> Self {
        let (strength, noise_level) = match hires.strength {
            StartStrength::Share(share) => (Some(share), None),
            StartStrength::Level(level) => (None, Some(level)),
        };
        let steps = match hires.steps {
            Some(Steps::Count(count)) => Some(count),
            _ => None,
        };
        Self { scale: hires.scale, strength, noise_level, steps }
    }

    /// The pairs of the web UI's text.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let strength = self.strength.map(|x| ("Denoising strength", x.to_string()));
        let level = self.noise_level.map(|x| ("Hires noise level", x.to_string()));
        let steps = self.steps.map(|steps| ("Hires steps", steps.to_string()));
        let own = [("Hires upscale", self.scale.to_string()), ("Hires upscaler", "Lanczos".into())];
        [strength, level].into_iter().flatten().chain(own).chain(steps).collect()
    }
}
