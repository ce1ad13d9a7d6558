//! What the targets share.

use std::io;

use hypersd_core::{ByteSource, Location, TensorSource, WeightFile};

/// Bytes that are read by ranges only.
struct Ranges(Vec<u8>);

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }
}

/// Reads every tensor of a weight file, as a loader would, from memory and by ranges; both say the same.
pub fn weights(data: &[u8]) {
    let memory = WeightFile::open(Location::of_bytes("x", data.to_vec()));
    let ranges = WeightFile::open(Location::of_bytes("x", Ranges(data.to_vec())));
    let (Ok(memory), Ok(ranges)) = (&memory, &ranges) else {
        assert_eq!(memory.is_ok(), ranges.is_ok());
        return;
    };
    for name in memory.names() {
        let info = memory.info(&name).expect("a listed tensor");
        let count: usize = info.shape.iter().product();
        let (one, other) = (memory.tensor(&name), ranges.tensor(&name));
        assert_eq!(one.is_ok(), other.is_ok());
        if let (Ok(one), Ok(other)) = (one, other) {
            assert_eq!((one.shape, one.data.len()), (info.shape.clone(), count));
            assert_eq!(other.data.len(), count);
        }
        memory.release(&name);
    }
}
