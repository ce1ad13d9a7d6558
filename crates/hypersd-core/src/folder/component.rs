//! One network of a model: its configuration and its weights.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{file_names, listing};
use crate::{error::Error, file::SafetensorsFile, json, sharded::ShardedFile, source::SharedSource};

/// What weight files are called before their extension: by diffusers and by transformers.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];
/// Configuration files, one of which a component has.
const CONFIGS: [&str; 2] = ["config.json", "scheduler_config.json"];

/// Which of several weight files of one network to read.
///
/// A folder may hold the same weights in f32 and f16. Exactly one is read, and it need not be of the dtype that
/// the network computes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Variant {
    /// The plain file; where a component has none, the one variant that it has.
    #[default]
    Default,
    /// The file with this name before its extension, such as `fp16`; where a component has none, the plain file.
    Named(String),
}

/// A folder with a configuration and, for a network, weights.
#[derive(Debug, Clone)]
pub struct Component {
    path: PathBuf,
    class: Option<String>,
}

impl Component {
    /// Opens a folder that stands alone, such as a downloaded ControlNet.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for a path that is no folder or a configuration that is not JSON.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Class {
            _class_name: Option<String>,
        }
        let component = Self::of_class(path.as_ref().to_path_buf(), None)?;
        let class = match component.config_path() {
            Some(config) => json::read::<Class>(&config)?._class_name,
            None => None,
        };
        Ok(Self { class, ..component })
    }

    /// A component whose class is known from the model's index.
    pub(super) fn of_class(path: PathBuf, class: Option<String>) -> Result<Self, Error> {
        let kind = std::fs::metadata(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        if kind.is_dir() {
            return Ok(Self { path, class });
        }
        Err(Error::Format {
            origin: path.display().to_string(),
            expected: "the folder of a component".to_string(),
            found: "a file".to_string(),
        })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class that saved the component, such as `UNet2DConditionModel`, where the files say it.
    #[must_use]
    pub fn class_name(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The component's `config.json` (a scheduler's `scheduler_config.json`).
    ///
    /// # Errors
    /// [`Error::Format`] where there is none, or naming the field that does not parse.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match self.config_path() {
            Some(config) => json::read(&config),
            None => self.lacks(&CONFIGS.map(String::from)),
        }
    }

    /// The text of a file, such as `merges.txt`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`], also for a file that is not UTF-8.
    pub fn text(&self, file_name: &str) -> Result<Option<String>, Error> {
        let path = self.path.join(file_name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// The weights, one file or its shards.
    ///
    /// # Errors
    /// [`Error::Format`] listing the names tried, [`Error::Unsupported`] where there are only pickles, and what
    /// opening the file meets.
    pub fn weights(&self, variant: &Variant) -> Result<SharedSource, Error> {
        let wanted = match variant {
            Variant::Default => vec![None],
            Variant::Named(name) => vec![Some(checked(name)?), None],
        };
        if let Some(name) = wanted.iter().find_map(|variant| self.find(*variant)) {
            return self.open_weights(&name);
        }
        let tried: Vec<String> = wanted.into_iter().flat_map(weight_files).collect();
        let others = self.other_variants()?;
        match (variant, others.as_slice()) {
            (_, []) => self.refuse_pickles().and_then(|()| self.lacks(&tried)),
            (Variant::Default, [only]) => match self.find(Some(only)) {
                Some(name) => self.open_weights(&name),
                None => self.lacks(&weight_files(Some(only))),
            },
            (_, several) => Err(Error::Format {
                origin: self.path.display().to_string(),
                expected: format!("one of {}", tried.join(", ")),
                found: format!("weights only as {} (ask for that variant)", several.join(", ")),
            }),
        }
    }

    /// The file that holds the weights of a variant.
    fn find(&self, variant: Option<&str>) -> Option<String> {
        weight_files(variant).into_iter().find(|name| self.path.join(name).is_file())
    }

    fn open_weights(&self, name: &str) -> Result<SharedSource, Error> {
        let path = self.path.join(name);
        Ok(match name.ends_with(".json") {
            true => Arc::new(ShardedFile::open(path)?),
            false => Arc::new(SafetensorsFile::open(path)?),
        })
    }

    fn config_path(&self) -> Option<PathBuf> {
        CONFIGS.iter().map(|name| self.path.join(name)).find(|path| path.is_file())
    }

    /// The variants of which there are weights, sorted.
    fn other_variants(&self) -> Result<Vec<String>, Error> {
        let mut variants: Vec<String> =
            file_names(&self.path)?.iter().filter_map(|name| variant_of(name)).map(String::from).collect();
        variants.sort();
        variants.dedup();
        Ok(variants)
    }

    /// Nothing hypersd reads is there: is there what it does not read?
    fn refuse_pickles(&self) -> Result<(), Error> {
        let pickle = |name: &String| [".bin", ".ckpt", ".pth", ".pt"].iter().any(|end| name.ends_with(end));
        match file_names(&self.path)?.into_iter().find(pickle) {
            // Opening says what it is and what to do instead.
            Some(name) => SafetensorsFile::open(self.path.join(name)).map(|_| ()),
            None => Ok(()),
        }
    }

    fn lacks<T>(&self, tried: &[String]) -> Result<T, Error> {
        Err(Error::Format {
            origin: self.path.display().to_string(),
            expected: format!("one of {}", tried.join(", ")),
            found: listing(&self.path)?,
        })
    }
}

/// Where weights may be, in the order of preference.
fn weight_files(variant: Option<&str>) -> Vec<String> {
    let dotted = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
    let names =
        |stem| [format!("{stem}{dotted}.safetensors"), format!("{stem}.safetensors.index{dotted}.json")];
    STEMS.into_iter().flat_map(names).collect()
}

/// The variant in a file name, the reverse of [`weight_files`]; shards do not count, their index does.
fn variant_of(name: &str) -> Option<&str> {
    let rest = STEMS.iter().find_map(|stem| name.strip_prefix(stem)?.strip_prefix('.'))?;
    let index = rest.strip_prefix("safetensors.index.").and_then(|rest| rest.strip_suffix(".json"));
    index.or_else(|| rest.strip_suffix(".safetensors").filter(|variant| !variant.contains("-of-")))
}

/// A variant is part of a file name: it must not lead elsewhere.
fn checked(variant: &str) -> Result<&str, Error> {
    if !variant.is_empty() && variant.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Ok(variant);
    }
    Err(Error::Argument {
        argument: "variant",
        expected: "letters and digits, such as \"fp16\"".to_string(),
        found: format!("{variant:?}"),
    })
}
