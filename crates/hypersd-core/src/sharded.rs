//! One set of weights in several files.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
    json,
    location::Location,
    names::nearest,
    source::TensorSource,
    weight_file::WeightFile,
};

/// The shards of a `*.safetensors.index.json` (or of a `*.bin.index.json`), as one source.
///
/// The index says which file holds which tensor. Index and shards must agree exactly.
#[derive(Debug)]
pub struct ShardedFile {
    index: Location,
    shards: Vec<WeightFile>,
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
    /// As for [`WeightFile::open`], and [`Error::Format`] for an index that points outside of its folder or
    /// differs from what the shards hold.
    pub fn open(index: impl Into<Location>) -> Result<Self, Error> {
        let location = index.into();
        let index: Index = json::read(&location)?;
        let files = index.files(&location)?;
        let mut shards = Vec::with_capacity(files.len());
        let mut shard_of = BTreeMap::new();
        for file in files {
            let shard = WeightFile::open(location.with_file_name(file))?;
            for name in shard.names() {
                if index.weight_map.get(&name).map(String::as_str) != Some(file) {
                    return Err(disagreement(&location, &name, index.weight_map.get(&name), Some(file)));
                }
                shard_of.insert(name, shards.len());
            }
            shards.push(shard);
        }
        match index.weight_map.iter().find(|(name, _)| !shard_of.contains_key(*name)) {
            Some((name, file)) => Err(disagreement(&location, name, Some(file), None)),
            None => Ok(Self { index: location, shards, shard_of }),
        }
    }

    /// The files that an index names, in its folder; they need not be there.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] for what is no index or points outside of its folder.
    pub fn shard_names(index: impl Into<Location>) -> Result<Vec<String>, Error> {
        let location = index.into();
        let index: Index = json::read(&location)?;
        Ok(index.files(&location)?.into_iter().map(String::from).collect())
    }

    fn shard(&self, name: &str) -> Option<&WeightFile> {
        self.shard_of.get(name).map(|&shard| &self.shards[shard])
    }
}

impl Index {
    /// Every shard once.
    fn files(&self, location: &Location) -> Result<BTreeSet<&str>, Error> {
        let files: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        files.iter().try_for_each(|file| check_name(location, file))?;
        Ok(files)
    }
}

/// A shard lies beside its index: anything else in its name would be a way out of the folder.
fn check_name(index: &Location, file: &str) -> Result<(), Error> {
    if !file.is_empty() && !file.contains(['/', '\\', ':', '\0']) && file != "." && !file.contains("..") {
        return Ok(());
    }
    Err(Error::Format {
        origin: format!("{index}, field `weight_map`"),
        expected: "the name of a file in the same folder".to_string(),
        found: format!("{file:?}"),
    })
}

fn disagreement(index: &Location, name: &str, listed: Option<&String>, holds: Option<&str>) -> Error {
    let place = |file: Option<&str>| file.map_or("nowhere".to_string(), |file| format!("in {file}"));
    Error::Format {
        origin: format!("{index}, tensor {name:?}"),
        expected: format!("the tensor {}, as the index says", place(listed.map(String::as_str))),
        found: match holds {
            Some(_) => format!("it {}", place(holds)),
            None => "that the file does not have it".to_string(),
        },
    }
}

impl TensorSource for ShardedFile {
    fn origin(&self) -> String {
        self.index.to_string()
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
