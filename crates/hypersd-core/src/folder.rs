//! Model folders as diffusers saves them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{error::Error, json};

mod component;

pub use component::{Component, Variant};

const INDEX: &str = "model_index.json";

/// A folder with a `model_index.json` and one sub-folder for each component.
///
/// Opening reads the index only.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    path: PathBuf,
    index: BTreeMap<String, Value>,
}

impl ModelFolder {
    /// Opens a folder by its `model_index.json`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for a path that is no such folder: the message says what is there.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let there = listing(path)?;
        if !path.join(INDEX).is_file() {
            return Err(Error::Format {
                origin: path.display().to_string(),
                expected: format!("a model folder with {INDEX}"),
                found: there,
            });
        }
        Ok(Self { path: path.to_path_buf(), index: json::read(&path.join(INDEX))? })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The pipeline class the model was saved from, such as `StableDiffusionXLPipeline`.
    #[must_use]
    pub fn class_name(&self) -> Option<&str> {
        self.index.get("_class_name")?.as_str()
    }

    /// The settings beside the components in `model_index.json`, such as `force_zeros_for_empty_prompt`.
    ///
    /// # Errors
    /// [`Error::Format`], naming the field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        json::read(&self.path.join(INDEX))
    }

    /// A component by its name in the index: `unet`, `vae`, `text_encoder_2`, `scheduler`.
    ///
    /// `None` where the index does not list it, or lists it as absent (`[null, null]`).
    ///
    /// # Errors
    /// [`Error::Io`] where the index lists a component whose folder is not there, [`Error::Format`] for an entry
    /// that is not `[library, class]`.
    pub fn component(&self, name: &str) -> Result<Option<Component>, Error> {
        let class = match self.index.get(name).map(|entry| (entry, entry.as_array().map(Vec::as_slice))) {
            None | Some((Value::Null, _)) | Some((_, Some([_, Value::Null]))) => return Ok(None),
            Some((_, Some([_, Value::String(class)]))) => class.clone(),
            Some((other, _)) => {
                return Err(Error::Format {
                    origin: format!("{}, field `{name}`", self.path.join(INDEX).display()),
                    expected: "[library, class]".to_string(),
                    found: other.to_string(),
                });
            }
        };
        Component::of_class(self.path.join(name), Some(class)).map(Some)
    }
}

/// What a folder holds, for messages.
fn listing(path: &Path) -> Result<String, Error> {
    const SHOWN: usize = 8;
    let kind = std::fs::metadata(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    if !kind.is_dir() {
        return Ok("a file".to_string());
    }
    let names = file_names(path)?;
    Ok(match names.len() {
        0 => "an empty folder".to_string(),
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    })
}

/// The names in a folder, sorted.
fn file_names(path: &Path) -> Result<Vec<String>, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(io)?.collect();
    let mut names: Vec<String> =
        entries.map_err(io)?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
