//! The bytes of a weight file: borrowed where they are in memory, else read.

use std::{borrow::Cow, io, ops::Range, sync::Arc};

use bytemuck::Pod;

use crate::{
    bytes::ByteSource,
    error::Error,
    location::{Kind, Location},
};

/// Bytes that are asked for at once. A source that promises more than it has fails at the first of them, before much
/// memory is touched.
const PIECE: usize = if cfg!(test) { 1 << 10 } else { 64 << 20 };

/// A whole file.
pub(crate) struct Bytes {
    source: Arc<dyn ByteSource>,
    size: u64,
}

impl Bytes {
    /// The bytes of a file that is `expected` to be there.
    pub(crate) fn open(location: &Location, expected: &str) -> Result<Self, Error> {
        // Opening a pipe would wait for a writer, and a directory cannot be mapped.
        let found = match location.kind()? {
            Kind::File => {
                let source = location.bytes()?;
                return Ok(Self { size: source.size(), source });
            }
            Kind::Folder => "a directory",
            Kind::Other => "no regular file",
        };
        Err(Error::Format {
            origin: location.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        })
    }

    /// Their number when the file was opened.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The elements in a range inside the file, borrowed where their alignment and the byte order of the machine allow it.
    pub(crate) fn read<const N: usize, T: Pod>(
        &self,
        range: Range<u64>,
        from_le_bytes: fn([u8; N]) -> T,
    ) -> io::Result<Cow<'_, [T]>> {
        let little = cfg!(target_endian = "little");
        let decoded = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&chunk| from_le_bytes(chunk)).collect();
        let Some(all) = self.source.in_memory() else {
            let elements = self.read_elements::<T>(range)?;
            return Ok(Cow::Owned(if little { elements } else { decoded(bytemuck::cast_slice(&elements)) }));
        };
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = range.and_then(|(start, end)| all.get(start..end)).ok_or_else(|| {
            let change = format!("{} bytes, which were {} when the file was opened", all.len(), self.size);
            io::Error::new(io::ErrorKind::UnexpectedEof, change)
        })?;
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(elements) if little => Cow::Borrowed(elements),
            _ => Cow::Owned(decoded(bytes)),
        })
    }

    /// The elements in a range, as they are stored.
    fn read_elements<T: Pod>(&self, range: Range<u64>) -> io::Result<Vec<T>> {
        let width = size_of::<T>();
        let count = usize::try_from(range.end - range.start).map_err(|_| io::ErrorKind::OutOfMemory)? / width;
        let mut elements = Vec::new();
        elements.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        while elements.len() < count {
            let read = elements.len();
            elements.resize(count.min(read + PIECE / width), T::zeroed());
            let offset = range.start + (read * width) as u64;
            self.source.read_at(offset, bytemuck::cast_slice_mut(&mut elements[read..]))?;
        }
        Ok(elements)
    }

    /// Gives the memory behind a range back, until it is touched again.
    pub(crate) fn release(&self, range: Range<u64>) {
        self.source.release(range);
    }
}

/// Without the bytes.
impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.size)
    }
}

#[cfg(test)]
mod tests;
