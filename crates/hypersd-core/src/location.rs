//! Where files are: on disk, or in the program itself.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::error::Error;

mod embedded;

pub use embedded::Embedded;

/// A file or a folder: on disk, or [embedded](Embedded) in the program.
///
/// Whatever opens a file or a folder takes `impl Into<Location>`: everything that is a path is one, and reads the same
/// from either place, with the same errors.
///
/// ```
/// use hypersd_core::{Embedded, Location};
///
/// let disk = Location::from("models/sd15").join("unet");
/// assert_eq!(disk.to_string(), std::path::Path::new("models/sd15").join("unet").display().to_string());
///
/// let embedded = Location::from(Embedded::new("mine", &[("unet/config.json", b"{}")])).join("unet");
/// assert_eq!(embedded.to_string(), "mine: unet");
/// assert!(embedded.is_dir() && embedded.join("config.json").is_file());
/// ```
#[derive(Debug, Clone)]
pub enum Location {
    /// On disk.
    Path(PathBuf),
    /// In the program.
    Embedded(Embedded),
}

/// What is at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A pipe, a device: nothing that weights are read from.
    Other,
}

impl Location {
    /// The path, for what is on disk.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Embedded(_) => None,
        }
    }

    /// A file or folder in this folder; several levels down with `/` between.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.join(name)),
            Self::Embedded(embedded) => Self::Embedded(embedded.join(name)),
        }
    }

    /// The folder that this is in; `None` for what is in none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Path(path) => path.parent().map(|folder| match folder.as_os_str().is_empty() {
                true => Self::from("."),
                false => Self::from(folder),
            }),
            Self::Embedded(embedded) => embedded.parent().map(Self::Embedded),
        }
    }

    /// The last part of the name, if there is one; what is not Unicode is replaced.
    #[must_use]
    pub fn file_name(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Path(path) => path.file_name().map(|name| name.to_string_lossy()),
            Self::Embedded(embedded) => embedded.file_name().map(Cow::Borrowed),
        }
    }

    /// Another file in the same folder.
    #[must_use]
    pub fn with_file_name(&self, name: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.with_file_name(name)),
            Self::Embedded(embedded) => Self::Embedded(embedded.with_file_name(name)),
        }
    }

    /// Whether a file is there.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.kind(), Ok(Kind::File))
    }

    /// Whether a folder is there.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.kind(), Ok(Kind::Folder))
    }

    /// The bytes of a file, to be read from its beginning on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reader(&self) -> Result<Box<dyn Read + Send>, Error> {
        match self {
            Self::Path(path) => File::open(path).map(|file| Box::new(file) as _),
            Self::Embedded(embedded) => embedded.bytes().map(|bytes| Box::new(bytes) as _),
        }
        .map_err(|error| self.io(error))
    }

    /// The text of a file.
    pub(crate) fn text(&self) -> Result<String, Error> {
        io::read_to_string(self.reader()?).map_err(|error| self.io(error))
    }

    /// What is there.
    pub(crate) fn kind(&self) -> Result<Kind, Error> {
        match self {
            Self::Path(path) => fs::metadata(path).map(|found| match () {
                () if found.is_file() => Kind::File,
                () if found.is_dir() => Kind::Folder,
                () => Kind::Other,
            }),
            Self::Embedded(embedded) => embedded.kind(),
        }
        .map_err(|error| self.io(error))
    }

    /// The names of what a folder holds, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let names = match self {
            Self::Path(path) => names_on_disk(path),
            Self::Embedded(embedded) => Ok(embedded.names()),
        };
        names.map_err(|error| self.io(error))
    }

    /// What went wrong with the file here; for `map_err`.
    #[must_use]
    pub fn io(&self, source: io::Error) -> Error {
        let path = match self {
            Self::Path(path) => path.clone(),
            Self::Embedded(embedded) => PathBuf::from(embedded.to_string()),
        };
        Error::Io { path, source }
    }
}

fn names_on_disk(folder: &Path) -> io::Result<Vec<String>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    let mut names: Vec<String> =
        entries?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

impl<P: AsRef<Path>> From<P> for Location {
    fn from(path: P) -> Self {
        Self::Path(path.as_ref().to_path_buf())
    }
}

impl From<Embedded> for Location {
    fn from(embedded: Embedded) -> Self {
        Self::Embedded(embedded)
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Embedded(embedded) => embedded.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
