//! A repository on the hub, at the commit that its revision is now.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use hf_hub::{CacheRepo, api::Progress, api::sync::ApiRepo};

use super::{Error, Hub, OnProgress, Transfer, cache, error::Cause, plan};
use crate::{HubReference, digest::sha256, reference::is_plain_path};

/// Hexadecimal digits of a SHA-256, which is what the hub calls a large file's contents.
const SHA256_DIGITS: usize = 64;

/// The files of one commit, fetched as they are asked for.
pub(super) struct Remote<'a> {
    hub: &'a Hub,
    repository: &'a str,
    api: ApiRepo,
    cache: CacheRepo,
    commit: String,
    names: Vec<String>,
    snapshot: PathBuf,
    /// The folder of the commit that the revision was before, if it was another.
    earlier: Option<PathBuf>,
}

impl<'a> Remote<'a> {
    /// Asks the hub which commit a revision is, and what files it has.
    pub(super) fn open(hub: &'a Hub, reference: &'a HubReference) -> Result<Self, Error> {
        let api = hub.api.repo(Hub::repo(reference));
        let cache = hub.cache.repo(Hub::repo(reference));
        let cause = Cause { hub, what: reference.to_string(), repository: &reference.repository };
        let info = api.info().map_err(|error| cause.error(error))?;
        if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_hexdigit()) {
            let reason = format!("expected a commit's digits, found {:?}", info.sha);
            return Err(Error::Repository { what: reference.repository.clone(), reason });
        }
        let snapshot = cache.pointer_path(&info.sha);
        let names = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(Self {
            hub,
            repository: &reference.repository,
            api,
            cache,
            // The names become paths: one that leads elsewhere is not a file of the repository.
            names: names.filter(|name| is_plain_path(name)).collect(),
            earlier: cache::snapshot(hub, reference).ok().filter(|earlier| *earlier != snapshot),
            snapshot,
            commit: info.sha,
        })
    }

    /// The commit's folder.
    pub(super) fn snapshot(&self) -> &Path {
        &self.snapshot
    }

    /// Fetches what is not there of these files, and notes the revision's commit.
    pub(super) fn fetch_all(&self, names: &[String]) -> Result<(), Error> {
        let missing: Vec<&String> = names.iter().filter(|name| !self.snapshot.join(name).exists()).collect();
        for (index, name) in missing.iter().enumerate() {
            self.fetch(name, index, missing.len())?;
        }
        self.cache.create_ref(&self.commit).map_err(|source| self.unwritable(source))
    }

    fn fetch(&self, name: &str, index: usize, files: usize) -> Result<PathBuf, Error> {
        let path = self.snapshot.join(name);
        if self.link_earlier(name, &path)? {
            return Ok(path);
        }
        let file = format!("{}/{name}", self.repository);
        let cause = Cause { hub: self.hub, what: file.clone(), repository: self.repository };
        let transfer = Transfer { file, index, files, bytes: 0, total: 0 };
        let report = Report { told: self.hub.on_progress.clone(), transfer };
        let fetched = self.api.download_with_progress(name, report).map_err(|error| cause.error(error))?;
        if fetched != path {
            return Err(Error::Changed { repository: self.repository.to_string() });
        }
        self.verify(&cause.what, &path)?;
        Ok(path)
    }

    /// Takes a file from the earlier commit if it is the same there; says whether it was.
    fn link_earlier(&self, name: &str, path: &Path) -> Result<bool, Error> {
        let blob = |snapshot: &PathBuf| snapshot.join(name).canonicalize().ok();
        let Some(blob) = self.earlier.as_ref().and_then(blob) else { return Ok(false) };
        let what = format!("{}/{name}", self.repository);
        let cause = Cause { hub: self.hub, what, repository: self.repository };
        let now = self.hub.api.metadata(&self.api.url(name)).map_err(|error| cause.error(error))?;
        if blob.file_name().and_then(|etag| etag.to_str()) != Some(now.etag()) {
            return Ok(false);
        }
        link(&blob, path, name).map_err(|source| self.unwritable(source))?;
        Ok(true)
    }

    /// A large file is called by its SHA-256 in the cache. One that differs from it is removed.
    fn verify(&self, what: &str, path: &Path) -> Result<(), Error> {
        let blob = path.canonicalize().map_err(|source| self.unwritable(source))?;
        let Some(etag) = blob.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let is_digest = etag.len() == SHA256_DIGITS && etag.chars().all(|c| c.is_ascii_hexdigit());
        let digest = || File::open(&blob).and_then(sha256).map_err(|source| self.unwritable(source));
        if !is_digest || digest()? == etag {
            return Ok(());
        }
        // Best effort: the error that matters is the one that is reported.
        let _ = fs::remove_file(&blob).and_then(|()| fs::remove_file(path));
        Err(Error::Damaged { file: what.to_string() })
    }

    fn unwritable(&self, source: io::Error) -> Error {
        Error::Cache { path: self.hub.options.cache_dir.clone(), source }
    }
}

impl plan::Files for Remote<'_> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn get(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.snapshot.join(name);
        if path.exists() { Ok(path) } else { self.fetch(name, 0, 1) }
    }
}

/// Makes a snapshot's file of a blob, as the hub's clients do: a relative link, so that the cache can be moved.
#[cfg(unix)]
fn link(_blob: &Path, path: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let etag = _blob.file_name().unwrap_or_default();
    let up = "../".repeat(2 + name.matches('/').count()); // snapshots/<commit>/<name>
    std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(etag), path)
}

/// Makes a snapshot's file of a blob.
#[cfg(not(unix))]
fn link(blob: &Path, path: &Path, _name: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::copy(blob, path).map(drop)
}

/// Passes the client's reports on.
struct Report {
    told: Option<OnProgress>,
    transfer: Transfer,
}

impl Report {
    fn tell(&self) {
        if let Some(told) = &self.told {
            told(&self.transfer);
        }
    }
}

impl Progress for Report {
    fn init(&mut self, size: usize, _file: &str) {
        (self.transfer.bytes, self.transfer.total) = (0, size as u64);
        self.tell();
    }

    fn update(&mut self, size: usize) {
        self.transfer.bytes += size as u64;
        self.tell();
    }

    fn finish(&mut self) {}
}
