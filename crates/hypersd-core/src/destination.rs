//! Where a file is going to be: found and tried before there is anything to write.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    hash::{BuildHasher, RandomState},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{error::Error, location::Location};

/// Links that are followed before they are taken for a circle; Linux gives up after as many.
const MAX_LINKS: usize = 40;

/// Where a file is going to be written, with symbolic links followed as opening the file would follow them.
///
/// A file appears whole or not at all: it is written under another name in the same folder, and renamed. What was there
/// before is replaced, and its permissions are kept. A pipe or a device stays what it is, and is written to.
///
/// To make one finds most of what writing may meet, before hours are spent on what is to be written:
///
/// ```
/// use hypersd_core::Destination;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let cat = Destination::try_out(folder.join("cat.png"))?;
/// assert!(cat.is_same_file(&Destination::try_out(folder.join("./cat.png"))?));
/// assert!(Destination::try_out(folder.join("no such folder/cat.png")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Destination {
    /// As it was given, for messages.
    given: PathBuf,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// A file in a folder without links; with the permissions of the one that is there.
    File { path: PathBuf, replaced: Option<Permissions> },
    /// A pipe or a device.
    Stream,
}

impl Destination {
    /// Finds where a path leads, and makes a file there that is removed again. A pipe is not opened: its reader would see
    /// it end.
    ///
    /// # Errors
    /// [`Error::Io`] for a folder that is not there or cannot be written to, a name that the file system does not take,
    /// links in a circle, and what is a folder or cannot be written to.
    pub fn try_out(path: impl AsRef<Path>) -> Result<Self, Error> {
        let destination = Self::of(path.as_ref())?;
        if let Place::File { path, replaced } = &destination.place {
            let (temporary, _) =
                create_beside(path, replaced.as_ref()).map_err(|at| at.error(&destination))?;
            fs::remove_file(&temporary).map_err(|source| destination.location().io(source))?;
        }
        Ok(destination)
    }

    /// Tells whether both are one file, of which the second written would replace the first. Two writers of one pipe or
    /// device follow each other.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::File { path, .. }, Place::File { path: other, .. }) => path == other,
            _ => false,
        }
    }

    /// Finds where a path leads, without trying it.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let given = path.to_path_buf();
        let place = match fs::metadata(path) {
            Ok(found) if found.is_file() => {
                let path = fs::canonicalize(path).map_err(|source| Location::from(path).io(source))?;
                Place::File { path, replaced: Some(found.permissions()) }
            }
            Ok(found) if is_stream(&found) => Place::Stream,
            Ok(found) => {
                let found = if found.is_dir() { "a folder" } else { "nothing that can be written to" };
                let text = format!("expected a file to write, found {found}");
                let source = io::Error::new(io::ErrorKind::InvalidInput, text);
                return Err(Location::from(path).io(source));
            }
            Err(_) => Place::File { path: new_file(path)?, replaced: None },
        };
        Ok(Self { given, place })
    }

    /// Writes all bytes.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        match &self.place {
            Place::File { path, replaced } => {
                let (temporary, mut file) =
                    create_beside(path, replaced.as_ref()).map_err(|at| at.error(self))?;
                let written = file.write_all(bytes).and_then(|()| {
                    drop(file); // Windows renames no open file
                    fs::rename(&temporary, path)
                });
                if written.is_err() {
                    // Best effort: the error that matters is the one that is reported.
                    let _ = fs::remove_file(&temporary);
                }
                written
            }
            Place::Stream => {
                OpenOptions::new().write(true).open(&self.given).and_then(|mut file| file.write_all(bytes))
            }
        }
        .map_err(|source| self.location().io(source))
    }

    fn location(&self) -> Location {
        Location::from(&self.given)
    }
}

/// The folder in which no file could be made, and why.
struct NotCreated<'a> {
    folder: &'a Path,
    source: io::Error,
}

impl NotCreated<'_> {
    fn error(self, destination: &Destination) -> Error {
        let Self { folder, source } = self;
        let text = format!("the folder {} cannot be written to: {source}", folder.display());
        destination.location().io(io::Error::new(source.kind(), text))
    }
}

/// A pipe or a device, which takes what is written to it. What reads from a socket does not.
#[cfg(unix)]
fn is_stream(found: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = found.file_type();
    kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
fn is_stream(found: &Metadata) -> bool {
    !found.is_file() && !found.is_dir()
}

/// The path, without links, of a file that is not there yet.
fn new_file(path: &Path) -> Result<PathBuf, Error> {
    let mut end = path.to_path_buf();
    for _ in 0..=MAX_LINKS {
        let folder = folder_of(&end);
        let Some(name) = end.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "expected the name of a file to write");
            return Err(Location::from(path).io(source));
        };
        let real = fs::canonicalize(folder).and_then(|real| match real.is_dir() {
            true => Ok(real),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        let real = real.map_err(|source| {
            let text = format!("no folder to write to: {source}");
            Location::from(folder).io(io::Error::new(source.kind(), text))
        })?;
        let file = real.join(name);
        match fs::symlink_metadata(&file) {
            Ok(found) if found.is_symlink() => {
                end = real.join(fs::read_link(&file).map_err(|source| Location::from(path).io(source))?);
            }
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Location::from(path).io(source)); // a name that is too long, for instance
            }
            _ => return Ok(file),
        }
    }
    Err(Location::from(path).io(io::Error::other("expected a file to write, found links in a circle")))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A new file in the folder of `path`, hidden and this call's own: a rename cannot cross file systems.
fn create_beside<'a>(
    path: &'a Path,
    replaced: Option<&Permissions>,
) -> Result<(PathBuf, File), NotCreated<'a>> {
    let temporary = path.with_file_name(temporary_name());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if replaced.is_some() {
        ours_alone(&mut options);
    }
    let file = options.open(&temporary).map_err(|source| NotCreated { folder: folder_of(path), source })?;
    if cfg!(unix)
        && let Some(permissions) = replaced
    {
        // Not every file system has permissions; where it has none, there are none to keep.
        let _ = file.set_permissions(permissions.clone());
    }
    Ok((temporary, file))
}

/// A file that replaces a private one is never readable by others, not even for a moment. Elsewhere than on Unix who may
/// read a file is its folder's to say.
fn ours_alone(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// Of one length, however long the file's own name is. The process's number would make it this call's own, but asking
/// for it is a panic where there are no processes.
fn temporary_name() -> impl AsRef<OsStr> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!(".hypersd-{:x}-{call}.part", RandomState::new().hash_one(call))
}

#[cfg(test)]
mod tests;
