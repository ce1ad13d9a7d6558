//! A tree of files in the program.

use std::{fmt, io};

use super::Kind;

/// A path from the root, with `/`, and what is in the file.
type File = (&'static str, &'static [u8]);

/// A file or a folder of a tree that was built into the program.
///
/// There are no folders but those that files are in, and no links. Bytes are borrowed as they lie: elements of tensors
/// too, where their alignment allows it, which `include_bytes!` alone does not see to.
#[derive(Clone)]
pub struct Embedded {
    name: &'static str,
    files: &'static [File],
    /// From the root, with `/`; the root itself is empty.
    path: String,
}

impl Embedded {
    /// The root of a tree. Each file has its path from there, such as `unet/config.json`; `name` is what the tree is
    /// called in messages.
    #[must_use]
    pub const fn new(name: &'static str, files: &'static [File]) -> Self {
        Self { name, files, path: String::new() }
    }

    /// What the tree is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The path in the tree, with `/`; empty for its root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}/{name}", self.path) };
        Self { path, ..*self }
    }

    pub(super) fn parent(&self) -> Option<Self> {
        let path = match self.path.rsplit_once('/') {
            Some((folder, _)) => folder.to_string(),
            None if self.path.is_empty() => return None,
            None => String::new(),
        };
        Some(Self { path, ..*self })
    }

    pub(super) fn file_name(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|name| !name.is_empty())
    }

    pub(super) fn with_file_name(&self, name: &str) -> Self {
        self.parent().unwrap_or_else(|| self.clone()).join(name)
    }

    pub(super) fn kind(&self) -> io::Result<Kind> {
        match self.bytes() {
            Ok(_) => Ok(Kind::File),
            Err(_) if self.below().next().is_some() => Ok(Kind::Folder),
            Err(absent) => Err(absent),
        }
    }

    pub(crate) fn bytes(&self) -> io::Result<&'static [u8]> {
        let file = self.files.iter().find(|(path, _)| *path == self.path);
        file.map(|(_, bytes)| *bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file is embedded"))
    }

    /// The names of what a folder holds, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.below().filter_map(|path| path.split('/').next()).map(String::from).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The paths of all files below this folder, from here.
    fn below(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().filter_map(|(path, _)| match self.path.as_str() {
            "" => Some(*path),
            folder => path.strip_prefix(folder)?.strip_prefix('/'),
        })
    }
}

impl fmt::Display for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(self.name),
            path => write!(f, "{}: {path}", self.name),
        }
    }
}

/// Without the bytes.
impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedded({self})")
    }
}
