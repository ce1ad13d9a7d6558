//! The bytes of a weight file, without a copy.

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    path::Path,
};

use memmap2::Mmap;

use crate::{
    error::Error,
    location::{Kind, Location},
};

/// A whole file: mapped, or a part of the program.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl Bytes {
    pub(super) fn open(location: &Location) -> Result<Self, Error> {
        // Opening a pipe would wait for a writer, and a directory cannot be mapped.
        let found = match location.kind()? {
            Kind::File => {
                let bytes = match location {
                    Location::Path(path) => map(path).map(Self::Mapped),
                    Location::Embedded(embedded) => embedded.bytes().map(Self::Embedded),
                };
                return bytes.map_err(|error| location.io(error));
            }
            Kind::Folder => "a directory",
            Kind::Other => "no regular file",
        };
        Err(Error::Format {
            origin: location.to_string(),
            expected: "a safetensors file".to_string(),
            found: found.to_string(),
        })
    }

    /// Gives the memory behind a range of a map back, until it is touched again.
    pub(super) fn release(&self, range: &Range<usize>) {
        match self {
            #[cfg(unix)]
            Self::Mapped(map) => forget_pages(map, range),
            _ => {}
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}

/// Maps a regular file for reading.
fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    #[expect(
        unsafe_code,
        reason = "mapping a file; the only other way is to read gigabytes that may not be needed"
    )]
    // SAFETY: the map is read-only and only ever seen as plain bytes and floats, for which every bit pattern is
    // valid. That nobody truncates the file meanwhile is what the documentation of `SafetensorsFile` asks for.
    unsafe {
        Mmap::map(&file)
    }
}

/// Drops pages from this process; they are read again from the file when they are touched again.
#[cfg(unix)]
fn forget_pages(map: &Mmap, range: &Range<usize>) {
    use memmap2::UncheckedAdvice::DontNeed;
    if range.is_empty() {
        return; // an empty range at the end of the file would lie outside of the map
    }
    #[expect(
        unsafe_code,
        reason = "MADV_DONTNEED is the way to give file pages back before the map is closed"
    )]
    // SAFETY: the map is read-only and private to a file, so that dropped pages come back with the same bytes;
    // what is borrowed from the map stays valid. The range is inside the map: `open` has checked it.
    let advised = unsafe { map.unchecked_advise_range(DontNeed, range.start, range.len()) };
    // It is advice: a system that does not follow it costs memory, nothing else.
    let _ = advised;
}
