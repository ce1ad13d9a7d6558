//! Models from the Hugging Face hub, through the cache that all its clients share.
//!
//! [`Pipeline::open`](crate::Pipeline::open) and the builder's methods take `owner/name` or `owner/name/file` as they
//! take a path, with the options of [`HubOptions::from_env`]. For other options, or to see how far a download is,
//! locate the files first:
//!
//! ```no_run
//! use hypersd::{Pipeline, hub::{Hub, HubOptions}};
//!
//! let hub = Hub::new(HubOptions { retries: 10, ..HubOptions::from_env()? })?
//!     .on_progress(|transfer| println!("{}: {} of {} bytes", transfer.file, transfer.bytes, transfer.total));
//! let builder = Pipeline::open(hub.locate("stable-diffusion-v1-5/stable-diffusion-v1-5")?)?
//!     .lora(hub.locate("ByteDance/Hyper-SD/Hyper-SD15-1step-lora.safetensors")?, 1.0)?;
//! # let _ = builder;
//! # Ok::<(), hypersd::Error>(())
//! ```
//!
//! Only what a pipeline reads is fetched: the configurations and tokenizer files of the components that
//! `model_index.json` lists, and one set of weights for each network. A commit that is in the cache is not fetched
//! again, and neither is a file that a later commit left as it was.

mod cache;
mod error;
mod options;
mod plan;
mod remote;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder},
};
use hypersd_core::Variant;

pub use error::Error;
pub use options::HubOptions;

use self::{cache::Cached, plan::Plan, remote::Remote};
use crate::{HubReference, reference::Meaning};

/// The revision that is looked up when none is named.
const MAIN: &str = "main";

/// The progress of one file's download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The file, as `owner/name/path`.
    pub file: String,
    /// The file's place among those that are to be fetched, from 0.
    pub index: usize,
    /// The number of files to be fetched.
    pub files: usize,
    /// Bytes that are there; what a broken transfer left counts.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// Told of every piece of every transfer.
type OnProgress = Arc<dyn Fn(&Transfer) + Send + Sync>;

/// A client of the hub.
#[derive(Clone)]
pub struct Hub {
    options: HubOptions,
    api: Api,
    cache: Cache,
    on_progress: Option<OnProgress>,
}

impl Hub {
    /// A client with these options; nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Client`] where none can be built.
    pub fn new(options: HubOptions) -> Result<Self, Error> {
        let cache = Cache::new(options.cache_dir.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(options.endpoint.trim_end_matches('/').to_string())
            .with_token(options.token.clone())
            .with_retries(options.retries)
            .with_progress(false) // the client's own bar goes to standard error
            .with_user_agent("hypersd", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| Error::Client { reason: error.to_string() })?;
        Ok(Self { options, api, cache, on_progress: None })
    }

    /// Calls `told` with every piece of a file that arrives.
    #[must_use]
    pub fn on_progress(self, told: impl Fn(&Transfer) + Send + Sync + 'static) -> Self {
        Self { on_progress: Some(Arc::new(told)), ..self }
    }

    /// Where what the user calls `given` is on this machine: itself where it is a path that exists, else what
    /// [`fetch`](Self::fetch) makes of it.
    ///
    /// # Errors
    /// [`crate::Error::NoSuchModel`] for what is neither a path that exists nor a place on the hub,
    /// [`crate::Error::Hub`] for what cannot be fetched.
    pub fn locate(&self, given: impl AsRef<Path>) -> Result<PathBuf, crate::Error> {
        match crate::reference::meaning(given.as_ref())? {
            Meaning::Path(path) => Ok(path),
            Meaning::Hub(reference) => Ok(self.fetch(&reference)?),
        }
    }

    /// The folder or file of a place on the hub, after fetching what of it is not in the cache.
    ///
    /// A repository with a `model_index.json` becomes a model folder, one with a `config.json` and weights a
    /// component's folder. Where the hub cannot be reached, what is in the cache is taken if it is complete.
    ///
    /// # Errors
    /// Every [`Error`] says what to do about it.
    pub fn fetch(&self, reference: &HubReference) -> Result<PathBuf, Error> {
        if self.options.offline {
            return self.cached(reference);
        }
        match self.download(reference) {
            Err(error @ Error::Network { .. }) => self.cached(reference).map_err(|_| error),
            result => result,
        }
    }

    fn download(&self, reference: &HubReference) -> Result<PathBuf, Error> {
        let remote = Remote::open(self, reference)?;
        let plan = Plan::new(&remote, reference, &self.variant())?;
        remote.fetch_all(&plan.files)?;
        Ok(remote.snapshot().join(plan.target))
    }

    fn cached(&self, reference: &HubReference) -> Result<PathBuf, Error> {
        let complete = || {
            let cached = Cached::open(self, reference).ok()?;
            let plan = Plan::new(&cached, reference, &self.variant()).ok()?;
            let there = |file: &String| cached.snapshot().join(file).exists();
            plan.files.iter().all(there).then(|| cached.snapshot().join(plan.target))
        };
        complete().ok_or_else(|| Error::NotCached {
            what: reference.to_string(),
            cache: self.options.cache_dir.clone(),
        })
    }

    fn variant(&self) -> Variant {
        self.options.variant.clone().map_or(Variant::Default, Variant::Named)
    }

    /// What the client calls a repository at a revision.
    fn repo(reference: &HubReference) -> Repo {
        let revision = reference.revision.as_deref().unwrap_or(MAIN);
        Repo::with_revision(reference.repository.clone(), RepoType::Model, revision.to_string())
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("options", &self.options).finish_non_exhaustive()
    }
}
