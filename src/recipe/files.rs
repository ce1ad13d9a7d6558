//! The recipe that a weight file is for, from its name.

use std::path::{Component, Path};

use super::{Recipe, RecipeError};
use crate::Error;

/// Names that diffusers gives to every file of their kind: the folder or repository says which it is.
const NAMELESS: [&str; 2] = ["pytorch_lora_weights", "diffusion_pytorch_model"];

impl Recipe {
    /// The recipe of a weight file or repository, recognised by the beginning of its name, in any spelling of its
    /// punctuation and case. `None` for any other name, a renamed file among them: nothing is opened.
    ///
    /// ```
    /// use hypersd::Recipe;
    ///
    /// let recipe = Recipe::of_file("loras/Hyper-SDXL-8steps-CFG-lora.safetensors");
    /// assert_eq!(recipe, Some(Recipe::HYPER_SDXL_8STEPS_CFG));
    /// assert_eq!(Recipe::of_file("latent-consistency/lcm-lora-sdxl"), Some(Recipe::LCM_LORA_SDXL));
    /// assert_eq!(Recipe::of_file("style.safetensors"), None);
    /// ```
    #[must_use]
    pub fn of_file(path: impl AsRef<Path>) -> Option<Self> {
        let mut names = path.as_ref().components().rev().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let name = names.next()?;
        if !NAMELESS.iter().any(|nameless| name.starts_with(nameless)) {
            return of_name(&name);
        }
        // The hub's cache calls a repository's folder `models--owner--name`.
        names.find_map(|folder| of_name(folder.rsplit("--").next()?))
    }

    /// Checks that a weight file is not known to be another recipe's.
    ///
    /// # Errors
    /// [`RecipeError::File`].
    pub fn check_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        match Self::of_file(path) {
            // A merge may be made with anything.
            _ if self.files.is_empty() => Ok(()),
            Some(other) if other != *self => Err(RecipeError::File {
                recipe: self.name,
                expected: self.files,
                found: path.to_path_buf(),
                of: other.name,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

/// The recipe with the longest published name that `name` begins with. A digit after it is another version of the name:
/// flash-sd3 is not flash-sd.
fn of_name(name: &str) -> Option<Recipe> {
    let name = letters(name);
    let known = Recipe::ALL
        .iter()
        .flat_map(|recipe| recipe.files.iter().map(move |file| (letters(file.name), *recipe)));
    known
        .filter(|(known, _)| {
            name.strip_prefix(known.as_str())
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .max_by_key(|(known, _)| known.len())
        .map(|(_, recipe)| recipe)
}

/// A name's letters and digits.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
