//! Distilled files with the settings that they were distilled for.

mod check;
mod error;
mod files;
mod table;

use std::{fmt, str::FromStr};

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, PredictionType, Spacing, Steps};

pub use error::RecipeError;

use crate::{Prompt, Request};

/// The settings that a distilled LoRA, UNet or model was made for, and the range that each may be changed in.
///
/// A recipe loads nothing: it is a row of a table, chosen by its constant, by its name, or by the name of a weight
/// file ([`Recipe::of_file`]). A few are for merges, of which there are too many to know by name: they have no files. [`request`](Self::request) sets everything that belongs together;
/// [`check`](Self::check) refuses a request that has drifted away from it. Whoever knows better does not call
/// `check`: a [`Pipeline`](crate::Pipeline) runs any request.
///
/// ```
/// use hypersd::{Algorithm, Recipe, Request, Steps};
///
/// let request = Recipe::HYPER_SD15_UNIFIED.request("a photo of a cat");
/// assert_eq!((request.scheduler, request.eta), (Some(Algorithm::Tcd), Some(1.0)));
///
/// // The unified LoRA takes 1 to 8 steps; the 2-step LoRA takes 2.
/// let request = Request { steps: Steps::Count(4), ..request };
/// Recipe::HYPER_SD15_UNIFIED.check(&request)?;
///
/// let recipe: Recipe = "hyper-sd15-2steps".parse()?;
/// assert_eq!(Recipe::of_file("loras/Hyper-SD15-2steps-lora.safetensors"), Some(recipe));
/// let error = recipe.check(&Request { guidance: 7.0, ..recipe.request("a photo of a cat") }).unwrap_err();
/// assert!(error.to_string().starts_with("recipe hyper-sd15-2steps: expected guidance 0, found 7"));
/// # Ok::<(), hypersd::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Recipe {
    /// The name that [`FromStr`] reads: `hyper-sd15-2steps`.
    pub name: &'static str,
    /// The family of models that the files were distilled from.
    pub family: Family,
    /// The files it is for, as published.
    pub files: &'static [Published],
    /// The scheduler; nothing else will do.
    pub scheduler: Algorithm,
    /// The spacing of the timesteps; nothing else will do. `None` where the scheduler has timesteps of its own.
    pub spacing: Option<Spacing>,
    /// The number of steps.
    pub steps: Allowed<usize>,
    /// The timesteps, exactly; `None` where they follow from the number of steps.
    pub timesteps: Option<&'static [usize]>,
    /// The number of steps that it was distilled with, of whose timesteps LCM takes its own, exactly; `None` is what the
    /// scheduler has.
    pub original_steps: Option<usize>,
    /// The timestep that the noisiest stands for where the UNet is asked, exactly; `None` for none.
    pub timestep_shift: Option<usize>,
    /// True where sigmas are to be spaced as Karras et al. do; `None` where it has no say in it.
    pub karras: Option<bool>,
    /// The quantity that the UNet predicts, where it is none that a configuration says.
    pub prediction: Option<PredictionType>,
    /// Stochasticity; `None` where the scheduler has none.
    pub eta: Option<Allowed<f64>>,
    /// Guidance scale, where 0 stands for every scale that means none (1 and below).
    pub guidance: Allowed<f64>,
    /// The weight that a LoRA is merged with; `None` where it has no say in it.
    pub lora_weight: Option<Allowed<f64>>,
    /// Height and width in pixels that it was trained at, where that is not its family's.
    pub size: Option<usize>,
    /// The licence of the files, where their publisher says it in a place that could be read; else see
    /// [`source`](Self::source).
    pub licence: Option<Licence>,
    /// The place where the settings are published.
    pub source: &'static str,
}

/// The terms that files are published under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Licence {
    /// Its name, as its publisher writes it.
    pub name: &'static str,
    /// The place of its text, or where the publisher names it.
    pub link: &'static str,
}

/// The values that a setting may have, both ends included, and the one it has unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed<T> {
    /// The smallest value.
    pub least: T,
    /// The largest.
    pub most: T,
    /// The value that [`Recipe::request`] sets.
    pub default: T,
}

/// A weight file that a recipe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The part it is loaded as.
    pub role: Role,
    /// Its name without the extension; the repository's, where the file's own says nothing.
    pub name: &'static str,
}

/// The part of a pipeline that a weight file is loaded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A LoRA, merged into the model's UNet.
    Lora,
    /// A UNet in the place of the model's own.
    UNet,
    /// A whole model.
    Model,
    /// What a UNet differs by from that of its base model, tensor by tensor, to be added to it.
    Difference,
}

impl Recipe {
    /// The request that the recipe stands for: scheduler, spacing, steps or timesteps, what LCM and PeRFlow are told
    /// beside, eta and guidance. Everything else is as in [`Request::default`], and yours to change.
    #[must_use]
    pub fn request(&self, prompt: impl Into<Prompt>) -> Request {
        Request {
            prompt: prompt.into(),
            scheduler: Some(self.scheduler),
            spacing: self.spacing,
            steps: match self.timesteps {
                Some(timesteps) => Steps::Timesteps(timesteps.to_vec()),
                None => Steps::Count(self.steps.default),
            },
            original_steps: self.original_steps,
            timestep_shift: self.timestep_shift,
            karras: self.karras,
            prediction: self.prediction,
            for_latents: true,
            eta: self.eta.map(|eta| eta.default),
            guidance: self.guidance.default,
            ..Request::default()
        }
    }

    /// Tells whether a negative prompt does anything: only where guidance is allowed.
    #[must_use]
    pub fn heeds_negative(&self) -> bool {
        self.guidance.most > 1.0
    }

    /// The other recipes of the same publisher and family that something fits, for advice.
    fn siblings(&self, fits: impl Fn(&Self) -> bool) -> Vec<&'static str> {
        Self::ALL
            .iter()
            .filter(|other| other.source == self.source && other.family == self.family)
            .filter(|other| other.name != self.name && fits(other))
            .map(|other| other.name)
            .collect()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(name: &str) -> Result<Self, RecipeError> {
        Self::ALL
            .iter()
            .copied()
            .find(|recipe| recipe.name == name)
            .ok_or_else(|| RecipeError::Unknown { given: name.to_owned() })
    }
}

impl<T: Copy> Allowed<T> {
    /// One value and no other.
    const fn only(value: T) -> Self {
        Self { least: value, most: value, default: value }
    }
}

impl<T: PartialOrd> Allowed<T> {
    /// True where a value is allowed.
    #[must_use]
    pub fn contains(&self, value: T) -> bool {
        self.least <= value && value <= self.most
    }
}

impl<T: PartialEq + fmt::Display> fmt::Display for Allowed<T> {
    /// `2`, or `1 to 8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { least, most, .. } if least == most => write!(f, "{least}"),
            Self { least, most, .. } => write!(f, "{least} to {most}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lora => "LoRA",
            Self::UNet => "UNet",
            Self::Model => "model",
            Self::Difference => "difference over the base's UNet",
        })
    }
}

/// Compiles and runs the page's example.
#[cfg(doctest)]
#[doc = include_str!("../docs/recipes.md")]
struct Page;

#[cfg(test)]
mod tests;
