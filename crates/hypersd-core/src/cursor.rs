//! One field after the other of what describes a file's tensors, read some at a time.

use std::{borrow::Cow, fmt::Display, ops::Range};

use crate::{error::Error, file::Bytes, location::Location};

/// Bytes that are asked for at once.
const AHEAD: u64 = if cfg!(test) { 48 } else { 1 << 20 };

/// A part of a file, of which nothing outside is read.
pub(crate) struct Cursor<'a> {
    location: &'a Location,
    bytes: &'a Bytes,
    /// What messages call the file.
    format: &'static str,
    /// What was read last, and where it begins.
    piece: Cow<'a, [u8]>,
    start: u64,
    at: u64,
    end: u64,
    /// Where nobody who writes such files is still describing them.
    limit: u64,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a range inside a file, of which at most `most` bytes are ever read.
    pub(crate) fn new(
        location: &'a Location,
        bytes: &'a Bytes,
        range: Range<u64>,
        most: u64,
        format: &'static str,
    ) -> Self {
        let Range { start, end } = range;
        let piece = Cow::Borrowed(&[][..]);
        Self { location, bytes, format, piece, start, at: start, end, limit: start.saturating_add(most) }
    }

    /// The place of the next field in the file.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// What is wrong with the file: not what its format has.
    pub(crate) fn wrong(&self, expected: &str, found: impl Display) -> Error {
        Error::Format {
            origin: self.location.to_string(),
            expected: format!("{} with {expected}", self.format),
            found: found.to_string(),
        }
    }

    /// What hypersd does not read.
    pub(crate) fn unsupported(&self, found: impl Into<String>, instead: &str) -> Error {
        Error::Unsupported {
            origin: self.location.to_string(),
            found: found.into(),
            instead: instead.to_string(),
        }
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: u64) -> Result<&[u8], Error> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.end);
        let Some(end) = end else {
            let found = format!("{} bytes that end before it does: truncated or damaged", self.bytes.size());
            return Err(self.wrong("a whole header", found));
        };
        if end > self.limit {
            return Err(self.wrong("a header of a size that people use", "one that is much longer"));
        }
        let held = self.start..self.start + self.piece.len() as u64;
        if !(held.contains(&self.at) && end <= held.end) {
            let read = self.at..end.max(self.end.min(self.limit).min(self.at.saturating_add(AHEAD)));
            (self.start, self.piece) =
                (self.at, self.bytes.read(read, u8::from_le_bytes).map_err(|e| self.location.io(e))?);
        }
        let from = (self.at - self.start) as usize; // inside a piece, which is in memory
        self.at = end;
        Ok(&self.piece[from..from + length as usize])
    }

    /// Passes over bytes, which have to be there.
    pub(crate) fn skip(&mut self, length: u64) -> Result<(), Error> {
        const AT_ONCE: u64 = 1 << 16;
        let mut rest = length;
        while rest > 0 {
            let now = rest.min(AT_ONCE);
            self.take(now)?;
            rest -= now;
        }
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64)?);
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    /// An integer of so many bytes, at most 8, that is not negative.
    pub(crate) fn integer(&mut self, width: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        bytes[..width as usize].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// So many bytes as text.
    pub(crate) fn text(&mut self, length: u64) -> Result<String, Error> {
        let text = std::str::from_utf8(self.take(length)?).map(str::to_string);
        text.map_err(|error| self.wrong("text in UTF-8", error))
    }
}
