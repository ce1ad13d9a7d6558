//! One set of weights in several files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    error::Error,
    file::SafetensorsFile,
    host::{HostTensor, TensorInfo},
    json,
    names::nearest,
    source::TensorSource,
};

/// The shards of a `*.safetensors.index.json`, as one source.
///
/// The index says which file holds which tensor. Index and shards must agree exactly.
#[derive(Debug)]
pub struct ShardedFile {
    index: PathBuf,
    shards: Vec<SafetensorsFile>,
    /// Tensor name to its place in `shards`.
    shard_of: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    /// Tensor name to shard file name.
    weight_map: BTreeMap<String, String>,
}

impl ShardedFile {
    /// Opens an index and every shard that it names.
    ///
    /// # Errors
    /// As for [`SafetensorsFile::open`], and [`Error::Format`] for an index that points outside of its folder or
    /// differs from what the shards hold.
    pub fn open(index: impl AsRef<Path>) -> Result<Self, Error> {
        let path = index.as_ref();
        let index: Index = json::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = index.files(path)?;
        let mut shards = Vec::with_capacity(files.len());
        let mut shard_of = BTreeMap::new();
        for file in files {
            let shard = SafetensorsFile::open(folder.join(file))?;
            for name in shard.names() {
                if index.weight_map.get(&name).map(String::as_str) != Some(file) {
                    return Err(disagreement(path, &name, index.weight_map.get(&name), Some(file)));
                }
                shard_of.insert(name, shards.len());
            }
            shards.push(shard);
        }
        match index.weight_map.iter().find(|(name, _)| !shard_of.contains_key(*name)) {
            Some((name, file)) => Err(disagreement(path, name, Some(file), None)),
            None => Ok(Self { index: path.to_path_buf(), shards, shard_of }),
        }
    }

    /// The shards that an index names, which need not be there.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for what is no index or points outside of its folder.
    pub fn shard_paths(index: impl AsRef<Path>) -> Result<Vec<PathBuf>, Error> {
        let path = index.as_ref();
        let index: Index = json::read(path)?;
        Ok(index.files(path)?.into_iter().map(|file| path.with_file_name(file)).collect())
    }

    fn shard(&self, name: &str) -> Option<&SafetensorsFile> {
        self.shard_of.get(name).map(|&shard| &self.shards[shard])
    }
}

impl Index {
    /// Every shard once.
    fn files(&self, path: &Path) -> Result<BTreeSet<&str>, Error> {
        let files: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        files.iter().try_for_each(|file| check_name(path, file))?;
        Ok(files)
    }
}

/// A shard lies beside its index: anything else in its name would be a way out of the folder.
fn check_name(index: &Path, file: &str) -> Result<(), Error> {
    if !file.is_empty() && !file.contains(['/', '\\', ':', '\0']) && file != "." && !file.contains("..") {
        return Ok(());
    }
    Err(Error::Format {
        origin: format!("{}, field `weight_map`", index.display()),
        expected: "the name of a file in the same folder".to_string(),
        found: format!("{file:?}"),
    })
}

fn disagreement(index: &Path, name: &str, listed: Option<&String>, holds: Option<&str>) -> Error {
    let place = |file: Option<&str>| file.map_or("nowhere".to_string(), |file| format!("in {file}"));
    Error::Format {
        origin: format!("{}, tensor {name:?}", index.display()),
        expected: format!("the tensor {}, as the index says", place(listed.map(String::as_str))),
        found: match holds {
            Some(_) => format!("it {}", place(holds)),
            None => "that the file does not have it".to_string(),
        },
    }
}

impl TensorSource for ShardedFile {
    fn origin(&self) -> String {
        self.index.display().to_string()
    }

    fn names(&self) -> Vec<String> {
        self.shard_of.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.shard(name)?.info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        match self.shard(name) {
            Some(shard) => shard.tensor(name),
            None => Err(Error::NoSuchTensor {
                origin: self.origin(),
                name: name.to_string(),
                near: nearest(name, self.shard_of.keys().map(String::as_str)),
            }),
        }
    }

    fn release(&self, name: &str) {
        if let Some(shard) = self.shard(name) {
            shard.release(name);
        }
    }
}

#[cfg(test)]
mod tests;
