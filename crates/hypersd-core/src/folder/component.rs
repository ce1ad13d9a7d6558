//! One network of a model: its configuration and its weights.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::listing;
use crate::{
    error::Error,
    json,
    location::{Kind, Location},
    sharded::ShardedFile,
    source::SharedSource,
    weight_file::WeightFile,
};

/// What weight files are called before and after the variant: by diffusers and by transformers, as safetensors and, where there
/// are none, as what PyTorch saves.
const NAMES: [(&str, &str); 4] = [
    ("diffusion_pytorch_model", "safetensors"),
    ("model", "safetensors"),
    ("diffusion_pytorch_model", "bin"),
    ("pytorch_model", "bin"),
];
/// Configuration files, one of which a component has.
const CONFIGS: [&str; 2] = ["config.json", "scheduler_config.json"];

/// How the name of a list of shards ends, where a file of weights has `.safetensors`.
const INDEX_END: &str = ".json";

/// The one to read of several weight files of one network.
///
/// A folder may hold the same weights in f32 and f16. Exactly one is read, and it need not be of the dtype that
/// the network computes in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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
    location: Location,
    class: Option<String>,
}

impl Component {
    /// Opens a folder that stands alone, such as a downloaded ControlNet.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for what is no folder or a configuration that is not JSON.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Class {
            _class_name: Option<String>,
        }
        let component = Self::of_class(location.into(), None)?;
        let class = match component.config_file() {
            Some(config) => json::read::<Class>(&config)?._class_name,
            None => None,
        };
        Ok(Self { class, ..component })
    }

    /// A component whose class is known from the model's index.
    pub(super) fn of_class(location: Location, class: Option<String>) -> Result<Self, Error> {
        if location.kind()? == Kind::Folder {
            return Ok(Self { location, class });
        }
        Err(Error::Format {
            origin: location.to_string(),
            expected: "the folder of a component".to_string(),
            found: "a file".to_string(),
        })
    }

    /// The place of the folder.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
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
        match self.config_file() {
            Some(config) => json::read(&config),
            None => self.lacks(&CONFIGS.map(String::from)),
        }
    }

    /// The text of a file, such as `merges.txt`; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Io`], also for a file that is not UTF-8.
    pub fn text(&self, file_name: &str) -> Result<Option<String>, Error> {
        let file = self.location.join(file_name);
        match file.kind() {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(_) => {
                let text = String::from_utf8(file.read_small()?);
                text.map(Some).map_err(|error| file.io(io::Error::new(ErrorKind::InvalidData, error)))
            }
        }
    }

    /// The weights, one file or its shards.
    ///
    /// # Errors
    /// [`Error::Format`] listing the names tried, and what opening the file meets.
    pub fn weights(&self, variant: &Variant) -> Result<SharedSource, Error> {
        let name = self.weight_file(variant)?;
        let file = self.location.join(&name);
        Ok(match name.ends_with(INDEX_END) {
            true => Arc::new(ShardedFile::open(file)?),
            false => Arc::new(WeightFile::open(file)?),
        })
    }

    /// The files that [`weights`](Self::weights) reads: one, or the shards.
    ///
    /// # Errors
    /// As there.
    pub fn weight_files(&self, variant: &Variant) -> Result<Vec<Location>, Error> {
        let name = self.weight_file(variant)?;
        let names = match name.ends_with(INDEX_END) {
            true => ShardedFile::shard_names(self.location.join(&name))?,
            false => vec![name],
        };
        Ok(names.iter().map(|name| self.location.join(name)).collect())
    }

    /// The name of the file, or of the shards' index.
    fn weight_file(&self, variant: &Variant) -> Result<String, Error> {
        let names = self.location.names()?;
        if let Some(name) = variant.choose(&names)? {
            return Ok(name.to_string());
        }
        let tried: Vec<String> = variant.wanted()?.into_iter().flat_map(weight_files).collect();
        match other_variants(&names).as_slice() {
            [] => self.lacks(&tried),
            others => Err(Error::Format {
                origin: self.location.to_string(),
                expected: format!("one of {}", tried.join(", ")),
                found: format!("weights only as {} (ask for that variant)", others.join(", ")),
            }),
        }
    }

    fn config_file(&self) -> Option<Location> {
        CONFIGS.iter().map(|name| self.location.join(name)).find(Location::is_file)
    }

    fn lacks<T>(&self, tried: &[String]) -> Result<T, Error> {
        Err(Error::Format {
            origin: self.location.to_string(),
            expected: format!("one of {}", tried.join(", ")),
            found: listing(&self.location)?,
        })
    }
}

impl Variant {
    /// The file of a component that holds its weights, or is the index of the shards that do. `None` where none does,
    /// or several might.
    ///
    /// ```
    /// use hypersd_core::Variant;
    ///
    /// let files = ["config.json", "model.fp16.safetensors", "model.safetensors"];
    /// assert_eq!(Variant::Default.choose(&files)?, Some("model.safetensors"));
    /// assert_eq!(Variant::Named("fp16".into()).choose(&files)?, Some("model.fp16.safetensors"));
    /// assert_eq!(Variant::Default.choose(&files[..2])?, Some("model.fp16.safetensors"));
    /// # Ok::<(), hypersd_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a variant that cannot be part of a file name.
    pub fn choose<'a, S: AsRef<str>>(&self, files: &'a [S]) -> Result<Option<&'a str>, Error> {
        let find = |variant: Option<&str>| {
            let is = |name: &String| files.iter().map(AsRef::as_ref).find(|file| file == name);
            weight_files(variant).iter().find_map(is)
        };
        if let Some(name) = self.wanted()?.into_iter().find_map(find) {
            return Ok(Some(name));
        }
        Ok(match (self, other_variants(files).as_slice()) {
            (Self::Default, [only]) => find(Some(only)),
            _ => None,
        })
    }

    /// The variants that may be read, the best first; `None` is the plain one.
    fn wanted(&self) -> Result<Vec<Option<&str>>, Error> {
        Ok(match self {
            Self::Default => vec![None],
            Self::Named(name) => vec![Some(checked(name)?), None],
        })
    }
}

/// The variants of which there are weights, sorted.
fn other_variants<S: AsRef<str>>(files: &[S]) -> Vec<&str> {
    let mut variants: Vec<&str> = files.iter().filter_map(|name| variant_of(name.as_ref())).collect();
    variants.sort_unstable();
    variants.dedup();
    variants
}

/// Where weights may be, in the order of preference.
fn weight_files(variant: Option<&str>) -> Vec<String> {
    let dotted = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
    let names = |(stem, end)| [format!("{stem}{dotted}.{end}"), format!("{stem}.{end}.index{dotted}.json")];
    NAMES.into_iter().flat_map(names).collect()
}

/// The variant in a file name, the reverse of [`weight_files`]; shards do not count, their index does.
fn variant_of(name: &str) -> Option<&str> {
    NAMES.iter().find_map(|(stem, end)| {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let index =
            rest.strip_prefix(end).and_then(|rest| rest.strip_prefix(".index.")?.strip_suffix(".json"));
        let file = || rest.strip_suffix(end)?.strip_suffix('.');
        index.or_else(|| file().filter(|variant| !variant.contains("-of-")))
    })
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
