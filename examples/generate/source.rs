//! What an option names that takes files: something on disk or on the hub, or a part of the demo in this program.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use hypersd::Location;

/// The word for the demo, whatever is on disk: a file or folder that is called so is `./demo`.
const DEMO: &str = "demo";

/// Where a model, or a part of one, is to come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The embedded demo has one of each.
    Demo,
    /// A path, or a place on the hub.
    Path(PathBuf),
}

impl Source {
    /// The path, where one is given.
    pub(crate) fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Demo => None,
            Self::Path(path) => Some(path),
        }
    }

    /// Where it is: in the demo as `demo` says, else as `locate` finds the path.
    pub(crate) fn location<E>(
        &self,
        demo: impl FnOnce() -> Location,
        locate: impl FnOnce(&Path) -> Result<PathBuf, E>,
    ) -> Result<Location, E> {
        match self {
            Self::Demo => Ok(demo()),
            Self::Path(path) => locate(path).map(Location::from),
        }
    }
}

impl From<OsString> for Source {
    fn from(given: OsString) -> Self {
        if given == DEMO { Self::Demo } else { Self::Path(given.into()) }
    }
}

/// A LoRA file and the weight it is merged with.
#[derive(Debug, Clone)]
pub(crate) struct Lora {
    pub(crate) source: Source,
    pub(crate) weight: f32,
}

impl Lora {
    /// `FILE` or `FILE=WEIGHT`. A file name may itself hold `=`, so a file of the whole name comes first.
    pub(crate) fn parse(given: OsString) -> Result<Self, String> {
        match split_last(&given) {
            Some((file, weight)) if !Path::new(&given).exists() => match weight.parse::<f32>() {
                Ok(weight) if weight.is_finite() => Ok(Self { source: file.into(), weight }),
                _ => Err(format!(
                    "expected FILE or FILE=WEIGHT with a finite weight, found the weight {weight:?}"
                )),
            },
            _ => Ok(Self { source: given.into(), weight: 1.0 }),
        }
    }
}

/// What is before and after the last `=`, where there is one: `FILE=REST`. A path need not be Unicode.
pub(crate) fn split_last(given: &OsStr) -> Option<(OsString, &str)> {
    if let Some(text) = given.to_str() {
        return text.rsplit_once('=').map(|(file, rest)| (file.into(), rest));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let bytes = given.as_bytes();
        let at = bytes.iter().rposition(|&byte| byte == b'=')?;
        let rest = std::str::from_utf8(&bytes[at + 1..]).ok()?;
        Some((OsStr::from_bytes(&bytes[..at]).to_os_string(), rest))
    }
    #[cfg(not(unix))]
    None
}
