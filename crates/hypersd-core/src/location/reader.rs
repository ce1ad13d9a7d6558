//! One byte after the other, from anywhere.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use crate::bytes::ByteSource;

/// A file that is read from its beginning on; see [`Location::reader`](super::Location::reader).
pub struct Reader(Inner);

enum Inner {
    Disk(File),
    Bytes { bytes: Arc<dyn ByteSource>, size: u64, at: u64 },
}

impl Reader {
    pub(super) fn of_disk(file: File) -> Self {
        Self(Inner::Disk(file))
    }

    pub(super) fn of_bytes(bytes: Arc<dyn ByteSource>) -> Self {
        Self(Inner::Bytes { size: bytes.size(), bytes, at: 0 })
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Disk(file) => file.read(into),
            Inner::Bytes { bytes, size, at } => {
                let rest = usize::try_from(size.saturating_sub(*at)).unwrap_or(usize::MAX);
                let n = rest.min(into.len());
                if n > 0 {
                    bytes.read_at(*at, &mut into[..n])?;
                    *at += n as u64;
                }
                Ok(n)
            }
        }
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Inner::Disk(file) => file.seek(to),
            Inner::Bytes { size, at, .. } => {
                let target = match to {
                    SeekFrom::Start(target) => Some(target),
                    SeekFrom::Current(by) => at.checked_add_signed(by),
                    SeekFrom::End(by) => size.checked_add_signed(by),
                };
                *at = target.ok_or(io::ErrorKind::InvalidInput)?;
                Ok(*at)
            }
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Inner::Disk(file) => file.fmt(f),
            Inner::Bytes { size, at, .. } => write!(f, "Reader(at {at} of {size} bytes)"),
        }
    }
}
