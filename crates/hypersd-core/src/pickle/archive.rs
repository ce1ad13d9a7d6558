//! PyTorch's files since 1.6: an uncompressed zip archive (PKWARE's APPNOTE.TXT) of one pickle, `data.pkl`, and a file for each
//! storage, `data/KEY`.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Entry, FORMAT, LONGEST,
    machine::{self, Tensor},
    tensors,
};
use crate::{cursor::Cursor, error::Error, file::Bytes, location::Location, numbers};

/// Where elements are kept.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    /// In an archive's file.
    File(FileEntry),
    /// In this range.
    Range(Range<u64>),
}

/// What an archive's directory says of a file.
#[derive(Debug, Clone)]
pub(super) struct FileEntry {
    /// Where its own header is.
    header: u64,
    size: u64,
    compressed: bool,
}

/// The directory of an archive.
struct Directory(BTreeMap<String, FileEntry>);

const END: &[u8; 4] = b"PK\x05\x06";
const END_SIZE: u64 = 22;
/// Longest comment behind the end of the directory.
const COMMENT: u64 = 0xffff;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const LOCATOR_SIZE: u64 = 20;
const ENTRY: u32 = 0x0201_4b50;
const HEADER: u32 = 0x0403_4b50;
const HEADER_SIZE: u64 = 30;
/// The extra field that holds what does not fit 32 bits.
const EXTRA_64: u16 = 1;

/// The tensors of an archive, by name.
pub(super) fn read(location: &Location, bytes: &Bytes) -> Result<BTreeMap<String, Entry>, Error> {
    let directory = Directory::read(location, bytes)?;
    let whole = Cursor::new(location, bytes, 0..bytes.size(), u64::MAX, FORMAT);
    let pickle = directory.0.iter().find(|(name, _)| name.rsplit('/').next() == Some("data.pkl"));
    let Some((name, file)) = pickle else {
        return Err(whole.wrong("a data.pkl in it", "a zip archive without one"));
    };
    if directory.0.get(&name.replace("data.pkl", "byteorder")).is_some_and(|order| {
        let read = order
            .range(location, bytes)
            .and_then(|range| bytes.read(range, u8::from_le_bytes).map_err(|error| location.io(error)));
        read.is_ok_and(|order| order.starts_with(b"big"))
    }) {
        return Err(
            whole.unsupported("a checkpoint of the other byte order", "save it again on this machine")
        );
    }
    let mut cursor = Cursor::new(location, bytes, file.range(location, bytes)?, LONGEST, FORMAT);
    let unpickled = machine::read(&mut cursor)?;
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    tensors::named(&unpickled, &cursor)?
        .into_iter()
        .map(|(name, tensor)| {
            let key = format!("{folder}data/{}", tensor.storage.key);
            let file = directory.0.get(&key).filter(|file| !file.compressed);
            let file = file.ok_or_else(|| cursor.wrong(&format!("a stored file {key:?}"), "none"))?;
            let entry = entry(&cursor, &name, tensor, file.size, Stored::File(file.clone()))?;
            Ok((name, entry))
        })
        .collect()
}

/// A tensor whose storage has `size` bytes.
pub(super) fn entry(
    cursor: &Cursor<'_>,
    name: &str,
    tensor: &Tensor,
    size: u64,
    storage: Stored,
) -> Result<Entry, Error> {
    let Tensor { dtype, offset, .. } = *tensor;
    let width = numbers::width(dtype).unwrap_or(1) as u64;
    let storage_width = tensor.storage.dtype.map_or(1, |dtype| numbers::width(dtype).unwrap_or(1)) as u64;
    let promised = tensor.storage.count.checked_mul(storage_width);
    let held = promised.filter(|&promised| promised <= size).map_or(0, |promised| promised / width);
    let product = tensor.shape.iter().try_fold(1_u64, |n, &extent| n.checked_mul(extent));
    // The last element that is seen.
    let reach = tensor.shape.iter().zip(&tensor.strides).try_fold(offset, |end, (&extent, &stride)| {
        extent.saturating_sub(1).checked_mul(stride).and_then(|step| end.checked_add(step))
    });
    let end = match (product, reach) {
        (Some(0), _) => Some(offset.min(held)),
        // A view that repeats elements could be larger than all memory.
        (Some(1..), Some(last)) if product <= Some(held) => last.checked_add(1).filter(|&end| end <= held),
        _ => None,
    };
    let extents = |extents: &[u64]| extents.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let (Some(end), Some(shape), Some(strides)) = (end, extents(&tensor.shape), extents(&tensor.strides))
    else {
        let expected = format!("{name:?} in a storage of {size} bytes");
        let found = format!("shape {:?}, strides {:?} at {offset}", tensor.shape, tensor.strides);
        return Err(cursor.wrong(&expected, found));
    };
    Ok(Entry { dtype, shape, strides, first: offset.min(end), end, storage })
}

impl Stored {
    /// Where the first element is.
    pub(super) fn start(&self, location: &Location, bytes: &Bytes) -> Result<u64, Error> {
        Ok(match self {
            Self::File(file) => file.range(location, bytes)?.start,
            Self::Range(range) => range.start,
        })
    }

    /// All that may have been read of it.
    pub(super) fn around(&self) -> Range<u64> {
        match self {
            Self::File(file) => file.header..file.header.saturating_add(file.size),
            Self::Range(range) => range.clone(),
        }
    }
}

impl FileEntry {
    /// Where the file's bytes are: behind a header whose length only it says.
    fn range(&self, location: &Location, bytes: &Bytes) -> Result<Range<u64>, Error> {
        let mut cursor = Cursor::new(location, bytes, self.header..bytes.size(), HEADER_SIZE, FORMAT);
        if self.compressed {
            return Err(cursor.unsupported(
                "a compressed checkpoint",
                "save it again with PyTorch, which compresses nothing",
            ));
        }
        if cursor.u32()? != HEADER {
            return Err(cursor.wrong("its files where its directory says", "something else there"));
        }
        cursor.skip(22)?;
        let (name, extra) = (cursor.u16()?, cursor.u16()?);
        let start = cursor.at() + u64::from(name) + u64::from(extra);
        match start.checked_add(self.size).filter(|&end| end <= bytes.size()) {
            Some(end) => Ok(start..end),
            None => {
                let found = format!("{} bytes, which end before: truncated or damaged", bytes.size());
                Err(cursor.wrong("all of its files", found))
            }
        }
    }
}

impl Directory {
    fn read(location: &Location, bytes: &Bytes) -> Result<Self, Error> {
        /// Most bytes of a directory: of a file with ten thousand tensors it has one million.
        const LONGEST: u64 = 1 << 26;
        let (range, count) = Self::place(location, bytes)?;
        let mut cursor = Cursor::new(location, bytes, range, LONGEST, FORMAT);
        let mut files = BTreeMap::new();
        for _ in 0..count {
            let (name, file) = Self::entry(&mut cursor)?;
            if files.insert(name.clone(), file).is_some() {
                return Err(cursor.wrong("files of different names", format!("two called {name:?}")));
            }
        }
        Ok(Self(files))
    }

    /// Where the directory is, and how many files are in it.
    fn place(location: &Location, bytes: &Bytes) -> Result<(Range<u64>, u64), Error> {
        let size = bytes.size();
        let tail = size.saturating_sub(END_SIZE + COMMENT);
        let read = bytes.read(tail..size, u8::from_le_bytes).map_err(|error| location.io(error))?;
        let found = (0..read.len().saturating_sub(END_SIZE as usize - 1))
            .rev()
            .find(|&at| read[at..].starts_with(END));
        let whole = Cursor::new(location, bytes, 0..size, u64::MAX, FORMAT);
        let Some(at) = found.map(|at| tail + at as u64) else {
            return Err(whole.wrong(
                "the directory of a zip archive at its end",
                format!("{size} bytes without: truncated or damaged"),
            ));
        };
        let mut end = Cursor::new(location, bytes, at..size, END_SIZE, FORMAT);
        end.skip(10)?;
        let mut count = u64::from(end.u16()?);
        let (mut length, mut start) = (u64::from(end.u32()?), u64::from(end.u32()?));
        if count == 0xffff || length == 0xffff_ffff || start == 0xffff_ffff {
            (count, length, start) = Self::place_64(location, bytes, at)?;
        }
        match start.checked_add(length).filter(|&end| end <= at) {
            Some(end) => Ok((start..end, count)),
            None => Err(whole.wrong("a directory inside it", format!("one of {length} bytes at {start}"))),
        }
    }

    /// The same, where it does not fit 32 bits: count, length and place.
    fn place_64(location: &Location, bytes: &Bytes, end: u64) -> Result<(u64, u64, u64), Error> {
        let mut locator =
            Cursor::new(location, bytes, end.saturating_sub(LOCATOR_SIZE)..end, LOCATOR_SIZE, FORMAT);
        let expected = "the place of its 64-bit directory";
        if locator.u32()? != LOCATOR_64 {
            return Err(locator.wrong(expected, "none"));
        }
        locator.skip(4)?;
        let at = locator.u64()?;
        if at >= end {
            return Err(locator.wrong(expected, format!("one at {at}")));
        }
        let mut record = Cursor::new(location, bytes, at..end, 56, FORMAT);
        if record.u32()? != END_64 {
            return Err(record.wrong(expected, "something else there"));
        }
        record.skip(28)?;
        Ok((record.u64()?, record.u64()?, record.u64()?))
    }

    fn entry(cursor: &mut Cursor<'_>) -> Result<(String, FileEntry), Error> {
        if cursor.u32()? != ENTRY {
            return Err(cursor.wrong("a directory of files", "something else in it"));
        }
        cursor.skip(4)?;
        let flags = cursor.u16()?;
        let method = cursor.u16()?;
        cursor.skip(8)?;
        let (packed, size) = (cursor.u32()?, cursor.u32()?);
        let [name, extra, comment] = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
        cursor.skip(8)?;
        let header = cursor.u32()?;
        let name = cursor.text(u64::from(name))?;
        let [size, _packed, header] = Self::wide(cursor, u64::from(extra), [size, packed, header])?;
        cursor.skip(u64::from(comment))?;
        Ok((name, FileEntry { header, size, compressed: method != 0 || flags & 1 != 0 }))
    }

    /// Numbers of 32 bits, or of 64 where they are in the extra fields, which have those that did not fit.
    fn wide(cursor: &mut Cursor<'_>, extra: u64, narrow: [u32; 3]) -> Result<[u64; 3], Error> {
        let mut wide = narrow.map(u64::from);
        let end = cursor.at() + extra;
        while cursor.at() + 4 <= end {
            let (kind, length) = (cursor.u16()?, u64::from(cursor.u16()?));
            let next = cursor.at() + length;
            if next > end {
                return Err(cursor.wrong("extra fields of the length that they say", "a longer one"));
            }
            if kind == EXTRA_64 {
                for (wide, narrow) in wide.iter_mut().zip(narrow) {
                    if narrow == u32::MAX && cursor.at() + 8 <= next {
                        *wide = cursor.u64()?;
                    }
                }
            }
            cursor.skip(next - cursor.at())?;
        }
        cursor.skip(end - cursor.at())?;
        Ok(wide)
    }
}
