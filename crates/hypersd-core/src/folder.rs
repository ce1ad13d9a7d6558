//! Model folders as diffusers saves them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::Error,
    json,
    location::{Kind, Location},
};

mod component;

pub use component::{Component, Variant};

const INDEX: &str = "model_index.json";

/// A folder with a `model_index.json` and one sub-folder for each component.
///
/// Opening reads the index only.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    location: Location,
    index: BTreeMap<String, Value>,
}

impl ModelFolder {
    /// Opens a folder by its `model_index.json`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for what is no such folder: the message says what is there.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let there = listing(&location)?;
        let index = location.join(INDEX);
        if !index.is_file() {
            return Err(Error::Format {
                origin: location.to_string(),
                expected: format!("a model folder with {INDEX}"),
                found: there,
            });
        }
        Ok(Self { location, index: json::read(&index)? })
    }

    /// The place of the folder.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
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
        json::read(&self.location.join(INDEX))
    }

    /// Whether the index lists a component, be it there or not.
    #[must_use]
    pub fn lists(&self, name: &str) -> bool {
        let class = self.index.get(name).and_then(Value::as_array).and_then(|entry| entry.get(1));
        class.is_some_and(Value::is_string)
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
                    origin: format!("{}, field `{name}`", self.location.join(INDEX)),
                    expected: "[library, class]".to_string(),
                    found: other.to_string(),
                });
            }
        };
        Component::of_class(self.location.join(name), Some(class)).map(Some)
    }
}

/// What a folder holds, for messages.
fn listing(location: &Location) -> Result<String, Error> {
    const SHOWN: usize = 8;
    if location.kind()? != Kind::Folder {
        return Ok("a file".to_string());
    }
    let names = location.names()?;
    Ok(match names.len() {
        0 => "an empty folder".to_string(),
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    })
}

#[cfg(test)]
mod tests;
