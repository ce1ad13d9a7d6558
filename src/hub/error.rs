//! Errors between a name on the hub and its files, each with the way out.

use std::{io, path::PathBuf};

use hf_hub::api::sync::ApiError;

use super::Hub;

/// A failure between a name on the hub and its files. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hub knows no such repository or revision.
    #[error(
        "{what}: no such path here, and no such repository or revision on {endpoint}; check the spelling of \
         owner/name"
    )]
    NotFound {
        /// The place on the hub that was asked for.
        what: String,
        /// Of whom.
        endpoint: String,
    },
    /// The repository has no such file.
    #[error("{what}: the repository has no such file; it has {}", listing(found))]
    NoSuchFile {
        /// The place on the hub that was asked for.
        what: String,
        /// The weight files that there are.
        found: Vec<String>,
    },
    /// The hub wants to know who asks (401).
    #[error(
        "{what}: {endpoint} asks for a valid token: the repository is private or gated, or it does not exist; check \
         the name, then log in with `hf auth login` or set HF_TOKEN"
    )]
    Unauthorized {
        /// The place on the hub that was asked for.
        what: String,
        /// Of whom.
        endpoint: String,
    },
    /// The hub knows who asks and refuses (403).
    #[error(
        "{what}: this account may not read it; accept the repository's terms at {page}, or use a token that is \
         allowed to read it"
    )]
    Forbidden {
        /// The place on the hub that was asked for.
        what: String,
        /// The repository's page.
        page: String,
    },
    /// The hub cannot be reached, and the cache does not have it all.
    #[error(
        "{endpoint} cannot be reached ({reason}), and the files are not all in the cache; check the connection, a \
         proxy, or HF_ENDPOINT"
    )]
    Network {
        /// The hub's address.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The hub is switched off, and the cache does not have it all.
    #[error(
        "{what}: not complete in the cache {}, and the hub is switched off; unset HF_HUB_OFFLINE once to fetch it",
        cache.display()
    )]
    NotCached {
        /// The place on the hub that was asked for.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The connection broke during a transfer, more often than it is taken up again.
    #[error("{file}: the transfer broke off ({reason}); run again, and it goes on where it stopped")]
    Transfer {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A file arrived that is not what the hub has.
    #[error("{file}: what arrived differs from its SHA-256, and was removed; run again")]
    Damaged {
        /// The file.
        file: String,
    },
    /// The remains of an earlier transfer cannot be gone on with.
    #[error("{file}: an earlier transfer left a part that does not fit; remove *.part in {}", blobs.display())]
    Part {
        /// The file.
        file: String,
        /// The folder with the part.
        blobs: PathBuf,
    },
    /// Another program holds the file's lock.
    #[error("{file}: another program is fetching it; wait for it to end, then run again")]
    Busy {
        /// The file.
        file: String,
    },
    /// The revision became another commit while it was fetched.
    #[error("{repository}: changed on the hub while it was fetched; run again")]
    Changed {
        /// The repository.
        repository: String,
    },
    /// The hub's own fault, or too many questions.
    #[error("{what}: {endpoint} answered with status {status}; try again later")]
    Status {
        /// The place on the hub that was asked for.
        what: String,
        /// Of whom.
        endpoint: String,
        /// HTTP's number.
        status: u16,
    },
    /// Whoever answers is not the hub.
    #[error(
        "{endpoint} does not answer as a Hugging Face hub does ({reason}); check HF_ENDPOINT, or a proxy"
    )]
    NotAHub {
        /// The hub's address.
        endpoint: String,
        /// The oddity.
        reason: String,
    },
    /// A file of the repository that says what else to fetch cannot be read.
    #[error("{what}: {reason}; report it to the repository's owner, or use another revision")]
    Repository {
        /// The file.
        what: String,
        /// The fault in it.
        reason: String,
    },
    /// A network has no safetensors file, or several and none is the plain one.
    #[error(
        "{what}: no safetensors weights that could be chosen, only {}; name a variant, or use a repository or \
         revision that has safetensors",
        listing(found)
    )]
    NoWeights {
        /// The network's folder.
        what: String,
        /// The files it has instead.
        found: Vec<String>,
    },
    /// A repository of single files.
    #[error("{repository}: not one model but single files; name one, as {repository}/{}", listing(found))]
    Collection {
        /// The repository.
        repository: String,
        /// The files.
        found: Vec<String>,
    },
    /// The cache cannot be read or written.
    #[error("the cache {}: {source}; make it writable, or set HF_HOME to another place", path.display())]
    Cache {
        /// The cache.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// There is no home folder to keep the cache in.
    #[error("no home folder to keep downloads in; set HF_HOME")]
    NoHome,
    /// No client can be built, or no request can be made of these options.
    #[error("the options of the hub: {reason}")]
    Client {
        /// The fault.
        reason: String,
    },
}

/// The first few names.
fn listing(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        0 => "nothing".to_string(),
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    }
}

/// The question that the client failed at.
pub(super) struct Cause<'a> {
    pub(super) hub: &'a Hub,
    /// The reference or the file.
    pub(super) what: String,
    pub(super) repository: &'a str,
}

impl Cause<'_> {
    /// From what the client says to what the user can do.
    pub(super) fn error(&self, error: ApiError) -> Error {
        let file = self.what.clone();
        match error {
            ApiError::TooManyRetries(last) => self.error(*last),
            ApiError::RequestError(error) => self.request(&error),
            ApiError::IoError(source) => self.io(source),
            ApiError::InvalidResume => Error::Part { file, blobs: self.blobs() },
            ApiError::LockAcquisition(_) => Error::Busy { file },
            odd @ (ApiError::MissingHeader(_) | ApiError::InvalidHeader(_) | ApiError::ParseIntError(_)) => {
                Error::NotAHub { endpoint: self.endpoint(), reason: odd.to_string() }
            }
        }
    }

    fn request(&self, error: &ureq::Error) -> Error {
        let (what, endpoint) = (self.what.clone(), self.endpoint());
        match error {
            ureq::Error::StatusCode(404) => Error::NotFound { what, endpoint },
            ureq::Error::StatusCode(401) => Error::Unauthorized { what, endpoint },
            ureq::Error::StatusCode(403) => {
                Error::Forbidden { what, page: format!("{endpoint}/{}", self.repository) }
            }
            ureq::Error::StatusCode(416) => Error::Part { file: what, blobs: self.blobs() },
            ureq::Error::StatusCode(status) => Error::Status { what, endpoint, status: *status },
            ureq::Error::Protocol(_) | ureq::Error::Json(_) => {
                Error::NotAHub { endpoint, reason: error.to_string() }
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
                Error::Client { reason: format!("{endpoint}: {error}") }
            }
            _ => Error::Network { endpoint, reason: error.to_string() },
        }
    }

    /// The client reads from the connection and writes to the cache in one call; the kind says which failed.
    fn io(&self, source: io::Error) -> Error {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, Other, TimedOut, UnexpectedEof,
            WouldBlock,
        };
        match source.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | InvalidData | Other | TimedOut
            | UnexpectedEof | WouldBlock => {
                Error::Transfer { file: self.what.clone(), reason: source.to_string() }
            }
            _ => Error::Cache { path: self.hub.options.cache_dir.clone(), source },
        }
    }

    fn endpoint(&self) -> String {
        self.hub.options.endpoint.clone()
    }

    fn blobs(&self) -> PathBuf {
        let folder = format!("models--{}", self.repository.replace('/', "--"));
        self.hub.options.cache_dir.join(folder).join("blobs")
    }
}
