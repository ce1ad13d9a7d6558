//! The part of a repository that is in the cache.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Error, Hub, plan};
use crate::HubReference;

/// The files of the commit that a revision last was, as far as they have been fetched.
pub(super) struct Cached {
    snapshot: PathBuf,
    names: Vec<String>,
}

impl Cached {
    /// Finds the commit of a reference.
    pub(super) fn open(hub: &Hub, reference: &HubReference) -> io::Result<Self> {
        let snapshot = snapshot(hub, reference)?;
        Ok(Self { names: plan::names_below(&snapshot)?, snapshot })
    }

    /// The commit's folder.
    pub(super) fn snapshot(&self) -> &Path {
        &self.snapshot
    }
}

impl plan::Files for Cached {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn get(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.snapshot.join(name);
        match path.exists() {
            true => Ok(path),
            false => Err(Error::NotCached { what: name.to_string(), cache: self.snapshot.clone() }),
        }
    }
}

/// The folder of the commit that a revision was when it was last fetched.
pub(super) fn snapshot(hub: &Hub, reference: &HubReference) -> io::Result<PathBuf> {
    let repo = Hub::repo(reference);
    let top = hub.options.cache_dir.join(repo.folder_name());
    let commit = match fs::read_to_string(top.join("refs").join(repo.revision())) {
        Ok(commit) => commit.trim().to_string(),
        Err(_) => repo.revision().to_string(), // which may be a commit itself
    };
    let snapshot = top.join("snapshots").join(commit);
    if snapshot.is_dir() { Ok(snapshot) } else { Err(io::ErrorKind::NotFound.into()) }
}
