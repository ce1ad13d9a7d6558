//! Wrong uses of a recipe, and what to do instead. `docs/recipes.md` shows every message.

use std::{fmt::Display, path::PathBuf};

use hypersd_core::Family;
use hypersd_schedulers::{Algorithm, Spacing, Steps};

use super::{Allowed, Published, Recipe};

/// A recipe that there is not, or a use that it was not made for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A name that is not in the table.
    #[error("unknown recipe {given:?}{}; expected one of {}", nearest(given), all())]
    Unknown {
        /// The name.
        given: String,
    },
    /// A model of another family than the files were distilled from.
    #[error(
        "recipe {recipe}: expected a model of {expected}, found {found}; {}",
        match twin {
            Some(twin) => format!("use {twin} and its file with this model"),
            None => format!("use a model of {expected}"),
        }
    )]
    Family {
        /// The recipe.
        recipe: &'static str,
        /// The family it is for.
        expected: Family,
        /// The model's.
        found: Family,
        /// The same recipe for the model's family.
        twin: Option<&'static str>,
    },
    /// A file that another recipe is for.
    #[error(
        "recipe {recipe}: expected {}, found {}, which is for {of}; use the recipe {of}, or the other file",
        names(&expected.iter().map(|file| file.name).collect::<Vec<_>>()),
        found.display()
    )]
    File {
        /// The recipe.
        recipe: &'static str,
        /// The files it is for.
        expected: &'static [Published],
        /// The file.
        found: PathBuf,
        /// The recipe that it is for.
        of: &'static str,
    },
    /// Another scheduler.
    #[error(
        "recipe {recipe}: expected scheduler {expected}, found {}; use {expected}, the one it was distilled for",
        or_own(found)
    )]
    Scheduler {
        /// The recipe.
        recipe: &'static str,
        /// The scheduler it is for.
        expected: Algorithm,
        /// The request's; `None` leaves it to the model.
        found: Option<Algorithm>,
    },
    /// Another spacing of the timesteps.
    #[error(
        "recipe {recipe}: expected {expected} spacing, found {}; use {expected}, which starts at the noisiest \
         timestep as the distillation did, or the picture blurs",
        or_own(found)
    )]
    Spacing {
        /// The recipe.
        recipe: &'static str,
        /// The spacing it is for.
        expected: Spacing,
        /// The request's; `None` leaves it to the model, and Stable Diffusion and SDXL say leading.
        found: Option<Spacing>,
    },
    /// Too few or too many steps.
    #[error("recipe {recipe}: expected {expected} steps, found {found}; use {expected}{}", or_for(&format!("{found} steps"), others))]
    Steps {
        /// The recipe.
        recipe: &'static str,
        /// The number it takes.
        expected: Allowed<usize>,
        /// The number that was asked for.
        found: usize,
        /// Recipes of the same publisher that take as many.
        others: Vec<&'static str>,
    },
    /// Other timesteps than those it was distilled at.
    #[error(
        "recipe {recipe}: expected {own}, found {found}; use {own}",
        own = Steps::Timesteps(expected.to_vec())
    )]
    Timesteps {
        /// The recipe.
        recipe: &'static str,
        /// The timesteps it was distilled at.
        expected: &'static [usize],
        /// The value that was asked for.
        found: Steps,
    },
    /// Explicit timesteps where they follow from the number of steps.
    #[error(
        "recipe {recipe}: expected {expected} steps at timesteps of its scheduler's choice, found {found}; \
         leave them out"
    )]
    NoTimesteps {
        /// The recipe.
        recipe: &'static str,
        /// The number of steps it takes.
        expected: Allowed<usize>,
        /// The timesteps.
        found: Steps,
    },
    /// Guidance that the distillation left no room for, or too little for one that needs it.
    #[error("recipe {recipe}: expected guidance {expected}, found {found}; use {expected}{}", or_for(&format!("guidance {found}"), others))]
    Guidance {
        /// The recipe.
        recipe: &'static str,
        /// The scales it takes, 0 standing for none.
        expected: Allowed<f64>,
        /// The scale asked for.
        found: f64,
        /// Recipes of the same publisher that take that scale.
        others: Vec<&'static str>,
    },
    /// Another value of what is said to the scheduler beside, or of a LoRA's weight.
    #[error("recipe {recipe}: expected {setting} {expected}, found {found}; use {expected}")]
    Setting {
        /// The recipe.
        recipe: &'static str,
        /// The setting.
        setting: &'static str,
        /// The value it takes, or its range.
        expected: String,
        /// The value that was asked for.
        found: String,
    },
    /// More or less noise than it was distilled with.
    #[error("recipe {recipe}: expected eta {expected}, found {found}; use {expected}{}", or_for(&format!("eta {found}"), others))]
    Eta {
        /// The recipe.
        recipe: &'static str,
        /// The values it takes.
        expected: Allowed<f64>,
        /// The value that was asked for.
        found: f64,
        /// Recipes of the same publisher that take that eta.
        others: Vec<&'static str>,
    },
}

/// "found …" for a setting that may be left to the model.
fn or_own(found: &Option<impl Display>) -> String {
    found.as_ref().map_or_else(|| "the model's own".into(), ToString::to_string)
}

/// ", or for 4 steps the file of …", where there is one.
fn or_for(what: &str, others: &[&str]) -> String {
    if others.is_empty() { String::new() } else { format!(", or for {what} the file of {}", names(others)) }
}

/// "a", "a or b", "a, b or c".
fn names(names: &[&str]) -> String {
    match names {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        names => names.concat(),
    }
}

/// "a, b or c" of the whole table.
fn all() -> String {
    names(&Recipe::ALL.iter().map(|recipe| recipe.name).collect::<Vec<_>>())
}

/// " (nearest: …)": at most two names, and only such as a reader would take for the same thing.
fn nearest(given: &str) -> String {
    const SHOWN: usize = 2;
    const ALIKE: f64 = 0.6;
    let mut alike: Vec<_> = Recipe::ALL
        .iter()
        .map(|recipe| (strsim::normalized_levenshtein(given, recipe.name), recipe.name))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a)); // stable: of equals, the first in the table
    let alike: Vec<_> = alike.into_iter().take(SHOWN).map(|(_, name)| name).collect();
    if alike.is_empty() { String::new() } else { format!(" (nearest: {})", alike.join(", ")) }
}
