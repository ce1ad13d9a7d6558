//! Locations of files: on disk, or in memory, or wherever else their bytes come from.

use std::{
    borrow::Cow,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{bytes::ByteSource, error::Error};

mod map;
mod reader;
mod tree;

pub use reader::Reader;
pub use tree::FileTree;

/// Bytes that a configuration, a vocabulary or an index may have; the largest that people use have some 20 million.
const SMALL: u64 = if cfg!(test) { 1 << 12 } else { 1 << 28 };

/// A file or a folder: on disk, or in a [`FileTree`].
///
/// Whatever opens a file or a folder takes `impl Into<Location>`: every path is one, a tree is one, and both read the
/// same, with the same errors.
///
/// ```
/// use hypersd_core::{FileTree, Image, Location};
///
/// let disk = Location::from("models/sd15").join("unet");
/// assert_eq!(disk.to_string(), std::path::Path::new("models/sd15").join("unet").display().to_string());
///
/// let unet = Location::from(FileTree::new("mine").with("unet/config.json", b"{}")).join("unet");
/// assert_eq!(unet.to_string(), "mine: unet");
/// assert!(unet.is_dir() && unet.join("config.json").is_file());
///
/// // One file alone, as a page is given it by its user.
/// let cut_off = Image::open(Location::of_bytes("photo.png", b"\x89PNG\r\n\x1a\n")).unwrap_err();
/// assert!(cut_off.to_string().starts_with("photo.png: expected a whole PNG, JPEG"), "{cut_off}");
/// ```
#[derive(Debug, Clone)]
pub struct Location(Place);

#[derive(Debug, Clone)]
enum Place {
    Disk(PathBuf),
    /// The path is from the root, with `/`; the root itself is empty.
    Tree(FileTree, String),
}

/// The kind of thing at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A pipe, a device: nothing that weights are read from.
    Other,
}

impl Location {
    /// A file that is not on disk, alone and called `name`, such as `lora.safetensors`.
    #[must_use]
    pub fn of_bytes(name: impl Into<String>, bytes: impl ByteSource + 'static) -> Self {
        let name = name.into();
        Self(Place::Tree(FileTree::new("").with(name.clone(), bytes), name))
    }

    /// The path, for what is on disk.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Disk(path) => Some(path),
            Place::Tree(..) => None,
        }
    }

    /// The path with all links followed, for what is on disk and there.
    #[must_use]
    pub fn real_path(&self) -> Option<PathBuf> {
        self.as_path()?.canonicalize().ok()
    }

    /// The tree and the path in it, which is empty for its root, for what is not on disk.
    #[must_use]
    pub fn in_tree(&self) -> Option<(&FileTree, &str)> {
        match &self.0 {
            Place::Disk(_) => None,
            Place::Tree(tree, path) => Some((tree, path)),
        }
    }

    /// A file or folder in this folder; several levels down with `/` between.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(match &self.0 {
            Place::Disk(path) => Place::Disk(path.join(name)),
            Place::Tree(tree, root) if root.is_empty() => Place::Tree(tree.clone(), name.to_string()),
            Place::Tree(tree, folder) => Place::Tree(tree.clone(), format!("{folder}/{name}")),
        })
    }

    /// The folder that this is in; `None` for what is in none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match &self.0 {
            Place::Disk(path) => path.parent().map(|folder| match folder.as_os_str().is_empty() {
                true => Self::from("."),
                false => Self::from(folder),
            }),
            Place::Tree(_, root) if root.is_empty() => None,
            Place::Tree(tree, path) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Some(Self(Place::Tree(tree.clone(), folder.to_string())))
            }
        }
    }

    /// The last part of the name, if there is one; what is not Unicode is replaced.
    #[must_use]
    pub fn file_name(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Place::Disk(path) => path.file_name().map(|name| name.to_string_lossy()),
            Place::Tree(_, path) => {
                path.rsplit('/').next().filter(|name| !name.is_empty()).map(Cow::Borrowed)
            }
        }
    }

    /// Another file in the same folder.
    #[must_use]
    pub fn with_file_name(&self, name: &str) -> Self {
        match &self.0 {
            Place::Disk(path) => Self(Place::Disk(path.with_file_name(name))),
            Place::Tree(..) => self.parent().unwrap_or_else(|| self.clone()).join(name),
        }
    }

    /// True where anything is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.kind().is_ok()
    }

    /// True where a file is there.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.kind(), Ok(Kind::File))
    }

    /// True where a folder is there.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.kind(), Ok(Kind::Folder))
    }

    /// The bytes of a file, one after the other.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn reader(&self) -> Result<Reader, Error> {
        match &self.0 {
            Place::Disk(path) => fs::File::open(path).map(Reader::of_disk),
            Place::Tree(tree, path) => tree.file(path).map(Reader::of_bytes),
        }
        .map_err(|error| self.io(error))
    }

    /// All bytes of a configuration or the like, which nobody makes so large that reading it could exhaust memory.
    pub(crate) fn read_small(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.reader()?.take(SMALL + 1).read_to_end(&mut bytes);
        match read.map_err(|error| self.io(error))? as u64 <= SMALL {
            true => Ok(bytes),
            false => Err(Error::Format {
                origin: self.to_string(),
                expected: format!("at most {SMALL} bytes of text"),
                found: "more".to_string(),
            }),
        }
    }

    /// The bytes of a file, for a reader of ranges; a file on disk is mapped.
    pub(crate) fn bytes(&self) -> Result<Arc<dyn ByteSource>, Error> {
        match &self.0 {
            Place::Disk(path) => map::open(path),
            Place::Tree(tree, path) => tree.file(path),
        }
        .map_err(|error| self.io(error))
    }

    /// The kind of thing that is there.
    pub(crate) fn kind(&self) -> Result<Kind, Error> {
        match &self.0 {
            Place::Disk(path) => fs::metadata(path).map(|found| match () {
                () if found.is_file() => Kind::File,
                () if found.is_dir() => Kind::Folder,
                () => Kind::Other,
            }),
            Place::Tree(tree, path) => tree.kind(path),
        }
        .map_err(|error| self.io(error))
    }

    /// The names of what a folder holds, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        match &self.0 {
            Place::Disk(path) => names_on_disk(path).map_err(|error| self.io(error)),
            Place::Tree(tree, path) => Ok(tree.names(path)),
        }
    }

    /// The error of the file here; for `map_err`.
    #[must_use]
    pub fn io(&self, source: io::Error) -> Error {
        Error::Io { origin: self.to_string(), source }
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
        Self(Place::Disk(path.as_ref().to_path_buf()))
    }
}

/// The root of the tree.
impl From<FileTree> for Location {
    fn from(tree: FileTree) -> Self {
        Self(Place::Tree(tree, String::new()))
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Disk(path) => path.display().fmt(f),
            Place::Tree(tree, path) => match (tree.name(), path.as_str()) {
                ("", "") => f.write_str("."),
                ("", name) | (name, "") => f.write_str(name),
                (name, path) => write!(f, "{name}: {path}"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
