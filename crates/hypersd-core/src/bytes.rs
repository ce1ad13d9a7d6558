//! The bytes of a file, wherever they are.

use std::{io, ops::Range};

/// The bytes of one file: in memory, in an archive, behind a network.
///
/// Whatever is bytes is one already: a `Vec<u8>`, an `Arc<[u8]>`, what `include_bytes!` gives, a caller's own map of a
/// file. Anything else implements the first two methods, and is then read by ranges: of a weight file its header, and each
/// tensor when it is needed.
///
/// Reading is repeatable: the same range gives the same bytes. Several threads read at once.
///
/// ```
/// use std::{fs::File, io::{self, Read, Seek, SeekFrom}, sync::Mutex};
///
/// use hypersd_core::ByteSource;
///
/// /// A file that is in another, uncompressed.
/// struct Stored {
///     archive: Mutex<File>,
///     start: u64,
///     size: u64,
/// }
///
/// impl ByteSource for Stored {
///     fn size(&self) -> u64 {
///         self.size
///     }
///
///     fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
///         let mut archive = self.archive.lock().map_err(|_| io::Error::other("a reader panicked"))?;
///         archive.seek(SeekFrom::Start(self.start + offset))?;
///         archive.read_exact(into)
///     }
/// }
/// ```
pub trait ByteSource: Send + Sync {
    /// The number of bytes.
    fn size(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on. Nobody asks for what lies beyond [`size`](Self::size).
    ///
    /// # Errors
    /// Whatever keeps a single byte of them from being read.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// All bytes, where they are in memory: tensors are then borrowed from there, if they are aligned, and not copied.
    fn in_memory(&self) -> Option<&[u8]> {
        None
    }

    /// Says that a range was read and will not be wanted again soon, so that the memory behind it can go.
    fn release(&self, range: Range<u64>) {
        let _ = range;
    }
}

impl<B: AsRef<[u8]> + Send + Sync + ?Sized> ByteSource for B {
    fn size(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.as_ref().get(offset..));
        let from = from.and_then(|rest| rest.get(..into.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn in_memory(&self) -> Option<&[u8]> {
        Some(self.as_ref())
    }
}
