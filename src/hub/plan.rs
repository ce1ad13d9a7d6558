//! The files of a repository that a pipeline reads.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use hypersd_core::{ShardedFile, Variant};
use serde_json::Value;

use super::Error;
use crate::HubReference;

const INDEX: &str = "model_index.json";
/// Components without weights.
const PLAIN: [&str; 3] = ["scheduler", "tokenizer", "tokenizer_2"];
/// Networks. Others that an index may list (a safety checker, an image encoder) are not run.
const NETWORKS: [&str; 4] = ["text_encoder", "text_encoder_2", "unet", "vae"];
/// The files of a component beside its weights: its configuration, a tokenizer's tables.
const SMALL: [&str; 7] = [
    "config.json",
    "scheduler_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
];

/// The files of a repository at one commit, wherever they are.
pub(super) trait Files {
    /// All paths, below the top of the repository.
    fn names(&self) -> &[String];

    /// The place of a file on this machine, once it is there.
    fn get(&self, name: &str) -> Result<PathBuf, Error>;
}

/// The files that are to be there, and the one that was meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Every file that will be read, in the order of fetching.
    pub(super) files: Vec<String>,
    /// The folder or the file to open, below the snapshot.
    pub(super) target: PathBuf,
}

impl Plan {
    /// Reads the indices of the repository, which say what else is needed.
    pub(super) fn new(
        files: &impl Files,
        reference: &HubReference,
        variant: &Variant,
    ) -> Result<Self, Error> {
        let walk = Walk { files, reference, variant };
        let names = files.names();
        let has = |name: &str| names.iter().any(|other| other == name);
        let (files, target) = match reference.path.as_deref() {
            Some(file) if has(file) => (walk.file(file)?, file),
            Some(folder) if !walk.children(folder).is_empty() => (walk.network(folder)?, folder),
            Some(_) => return Err(walk.no_such_file()),
            None if has(INDEX) => (walk.pipeline()?, ""),
            None if has("config.json") => (walk.network("")?, ""),
            None => return Err(walk.collection()),
        };
        Ok(Self { files, target: PathBuf::from(target) })
    }
}

struct Walk<'a, F> {
    files: &'a F,
    reference: &'a HubReference,
    variant: &'a Variant,
}

impl<F: Files> Walk<'_, F> {
    /// Everything that a model folder is read for.
    fn pipeline(&self) -> Result<Vec<String>, Error> {
        let index = self.index(INDEX)?;
        let listed = |name: &&str| match index.get(*name).and_then(Value::as_array).map(Vec::as_slice) {
            Some([library, _]) => !library.is_null(),
            _ => false,
        };
        let mut files = vec![INDEX.to_string()];
        for folder in PLAIN.iter().filter(|name| listed(name)) {
            files.extend(self.small(folder));
        }
        for folder in NETWORKS.iter().filter(|name| listed(name)) {
            files.extend(self.network(folder)?);
        }
        Ok(files)
    }

    /// A network's configuration and one set of its weights.
    fn network(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut files = self.small(folder);
        let children = self.children(folder);
        let weights = match self.variant.choose(&children) {
            Ok(Some(weights)) => weights,
            Ok(None) => return Err(self.no_weights(folder, &children)),
            Err(error) => return Err(Error::Client { reason: error.to_string() }),
        };
        files.extend(self.file(&join(folder, weights))?);
        Ok(files)
    }

    /// A file, and the shards if it is an index of them.
    fn file(&self, name: &str) -> Result<Vec<String>, Error> {
        if !name.contains(".safetensors.index") {
            return Ok(vec![name.to_string()]);
        }
        let shards =
            ShardedFile::shard_names(self.files.get(name)?).map_err(|error| self.odd(name, error))?;
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let shards = shards.iter().map(|shard| join(folder, shard));
        Ok(std::iter::once(name.to_string()).chain(shards).collect())
    }

    /// The small files of a component.
    fn small(&self, folder: &str) -> Vec<String> {
        let children = self.children(folder);
        SMALL.iter().filter(|name| children.contains(name)).map(|name| join(folder, name)).collect()
    }

    /// The names of the files in a folder.
    fn children(&self, folder: &str) -> Vec<&str> {
        let below = |name: &'_ str| match folder {
            "" => Some(0),
            _ => name.strip_prefix(folder)?.starts_with('/').then_some(folder.len() + 1),
        };
        let names = self.files.names().iter();
        names.filter_map(|name| Some(&name[below(name)?..])).filter(|name| !name.contains('/')).collect()
    }

    fn index(&self, name: &str) -> Result<BTreeMap<String, Value>, Error> {
        let text = std::fs::read_to_string(self.files.get(name)?).map_err(|error| self.odd(name, error))?;
        serde_json::from_str(&text).map_err(|error| self.odd(name, error))
    }

    fn odd(&self, name: &str, error: impl std::fmt::Display) -> Error {
        Error::Repository { what: format!("{}/{name}", self.reference.repository), reason: error.to_string() }
    }

    fn no_such_file(&self) -> Error {
        Error::NoSuchFile { what: self.reference.to_string(), found: self.weight_files() }
    }

    /// No model, but perhaps files to choose from.
    fn collection(&self) -> Error {
        let repository = self.reference.repository.clone();
        match self.weight_files() {
            found if found.is_empty() => {
                let found = self.files.names().to_vec();
                Error::NoWeights { what: repository, found }
            }
            found => Error::Collection { repository, found },
        }
    }

    fn no_weights(&self, folder: &str, children: &[&str]) -> Error {
        let weights = |name: &&&str| {
            [".safetensors", ".bin", ".ckpt", ".msgpack", ".onnx"].iter().any(|end| name.ends_with(end))
        };
        Error::NoWeights {
            what: join(&self.reference.repository, folder).trim_end_matches('/').to_string(),
            found: children.iter().filter(weights).map(|name| join(folder, name)).collect(),
        }
    }

    fn weight_files(&self) -> Vec<String> {
        self.files
            .names()
            .iter()
            .filter(|name| [".safetensors", ".gguf", ".ckpt"].iter().any(|end| name.ends_with(end)))
            .cloned()
            .collect()
    }
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_string(),
        _ => format!("{folder}/{name}"),
    }
}

/// Paths below `top`, with `/`, of the files that are there; what is not Unicode is left out.
pub(super) fn names_below(top: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(top.join(&folder))? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let name = join(&folder, &name);
            match std::fs::metadata(top.join(&name)) {
                Ok(kind) if kind.is_dir() => folders.push(name),
                Ok(_) => names.push(name),
                Err(_) => {} // a link to a blob that is gone
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
