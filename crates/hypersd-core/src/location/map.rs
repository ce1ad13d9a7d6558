//! Files on disk, mapped.

use std::{io, path::Path, sync::Arc};

use crate::bytes::ByteSource;

/// The bytes of a regular file, where they lie.
#[cfg(any(unix, windows))]
pub(super) fn open(path: &Path) -> io::Result<Arc<dyn ByteSource>> {
    Ok(Arc::new(mapped::Mapped::open(path)?))
}

/// The bytes of a regular file: other systems have no maps.
#[cfg(not(any(unix, windows)))]
pub(super) fn open(path: &Path) -> io::Result<Arc<dyn ByteSource>> {
    Ok(Arc::new(std::fs::read(path)?))
}

#[cfg(any(unix, windows))]
mod mapped {
    #[cfg(unix)]
    use std::ops::Range;
    use std::{fs::File, io, path::Path};

    use memmap2::Mmap;

    use crate::bytes::ByteSource;

    pub(super) struct Mapped(Mmap);

    impl Mapped {
        pub(super) fn open(path: &Path) -> io::Result<Self> {
            let file = File::open(path)?;
            #[expect(
                unsafe_code,
                reason = "mapping a file; the only other way is to read gigabytes that may not be needed"
            )]
            // SAFETY: the map is read-only and only ever seen as plain bytes and floats, for which every bit pattern is
            // valid. That nobody truncates the file meanwhile is what the documentation of `SafetensorsFile` asks for.
            unsafe { Mmap::map(&file) }.map(Self)
        }
    }

    impl ByteSource for Mapped {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, into)
        }

        fn in_memory(&self) -> Option<&[u8]> {
            Some(&self.0)
        }

        #[cfg(unix)]
        fn release(&self, range: Range<u64>) {
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
            // An empty range at the end of the file would lie outside of the map.
            if start < end && end <= self.0.len() {
                forget_pages(&self.0, start..end);
            }
        }
    }

    /// Drops pages from this process; they are read again from the file when they are touched again.
    #[cfg(unix)]
    fn forget_pages(map: &Mmap, range: Range<usize>) {
        use memmap2::UncheckedAdvice::DontNeed;
        #[expect(
            unsafe_code,
            reason = "MADV_DONTNEED is the way to give file pages back before the map is closed"
        )]
        // SAFETY: the map is read-only and private to a file, so that dropped pages come back with the same bytes;
        // what is borrowed from the map stays valid. The range is inside the map.
        let advised = unsafe { map.unchecked_advise_range(DontNeed, range.start, range.len()) };
        // It is advice: a system that does not follow it costs memory, nothing else.
        let _ = advised;
    }
}
