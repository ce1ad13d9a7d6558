//! Weight files from sources that do not have their bytes in memory, do not keep what they promise, or both.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;

use super::PIECE;
use crate::{ByteSource, Error, HostData, Location, SafetensorsFile, TensorSource};

/// Longer than what is looked at of any file.
const PADDING: usize = 200;

/// `x` 1, -2 in f32 and `y` 0.5 in f16, behind a header of more than [`PADDING`] bytes.
fn file() -> Vec<u8> {
    let header = r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}}"#;
    let header = format!("{header}{}", " ".repeat(PADDING));
    let data = [1.0_f32.to_le_bytes().as_slice(), &(-2.0_f32).to_le_bytes(), &[0x00, 0x38]].concat();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// Where the data of [`file`] begin.
fn data_start() -> u64 {
    file().len() as u64 - 10
}

/// Bytes that are read by ranges only, each of which is written down.
struct Ranges {
    bytes: Vec<u8>,
    /// What the source says that it has.
    size: u64,
    /// Reading this byte fails.
    broken: u64,
    asked: &'static Mutex<Vec<(u64, usize)>>,
}

impl Ranges {
    fn of(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, bytes, broken: u64::MAX, asked: Box::leak(Box::default()) }
    }
}

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.asked.lock().unwrap().push((offset, into.len()));
        if (offset..offset + into.len() as u64).contains(&self.broken) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line is dead"));
        }
        self.bytes.read_at(offset, into)
    }
}

fn open(source: impl ByteSource + 'static) -> Result<SafetensorsFile, Error> {
    SafetensorsFile::open(Location::of_bytes("far.safetensors", source))
}

#[test]
fn the_header_is_read_once_and_each_tensor_alone() {
    let source = Ranges::of(file());
    let asked = source.asked;
    let taken = || std::mem::take(&mut *asked.lock().unwrap());
    let far = open(source).unwrap();
    assert_eq!(taken(), [(0, 64), (0, data_start() as usize)]);

    assert_eq!(far.info("y").unwrap().shape, [1]);
    assert_eq!(taken(), []);
    for _ in 0..2 {
        let y = far.tensor("y").unwrap();
        assert_eq!(*y.to_f32(), [0.5]);
        assert!(matches!(y.data, HostData::F16(std::borrow::Cow::Owned(_))));
        far.release("y");
        assert_eq!(taken(), [(data_start() + 8, 2)]);
    }
    assert_eq!(*far.tensor("x").unwrap().to_f32(), [1.0, -2.0]);
    assert_eq!(taken(), [(data_start(), 8)]);
}

#[test]
fn large_tensors_come_in_pieces() {
    let values: Vec<f32> = (0..PIECE as u32).map(|i| i as f32).collect();
    let header = format!(r#"{{"x":{{"dtype":"F32","shape":[{PIECE}],"data_offsets":[0,{}]}}}}"#, 4 * PIECE);
    let start = 8 + header.len();
    let bytes =
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), bytemuck::cast_slice(&values)].concat();
    let source = Ranges::of(bytes);
    let asked = source.asked;
    let far = open(source).unwrap();
    asked.lock().unwrap().clear();
    assert_eq!(*far.tensor("x").unwrap().to_f32(), values);
    let want: Vec<_> = (0..4).map(|i| ((start + i * PIECE) as u64, PIECE)).collect();
    assert_eq!(*asked.lock().unwrap(), want);
}

#[test]
fn a_source_that_fails_is_named_with_what_it_said() {
    for broken in 0..file().len() as u64 {
        let far = match open(Ranges { broken, ..Ranges::of(file()) }) {
            Ok(far) => far,
            Err(error) => {
                assert!(broken < data_start(), "the data were read to open the file");
                assert_eq!(error.to_string(), "far.safetensors: the line is dead");
                continue;
            }
        };
        assert!(broken >= data_start(), "the header is broken at {broken}");
        let (fails, works) = if broken < data_start() + 8 { ("x", "y") } else { ("y", "x") };
        let error = far.tensor(fails).unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionReset)
        );
        assert_eq!(error.to_string(), format!("far.safetensors, tensor {fails:?}: the line is dead"));
        far.tensor(works).unwrap();
    }
}

#[test]
fn a_size_that_is_a_lie_is_an_error() {
    let whole = file().len() as u64;
    for size in 0..whole {
        let error = open(Ranges { size, ..Ranges::of(file()) }).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{size}: {error}");
    }
    for size in [whole + 1, 1 << 40, u64::MAX] {
        let error = open(Ranges { size, ..Ranges::of(file()) }).unwrap_err().to_string();
        assert!(error.contains(&format!("{size} bytes, which is not what the header describes")), "{error}");
    }
    let nothing = open(Ranges { size: 99, ..Ranges::of(Vec::new()) }).unwrap_err();
    assert!(matches!(&nothing, Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof));
}

#[test]
fn a_tensor_larger_than_all_memory_is_an_error() {
    for elements in [1_usize << 44, 1 << 58] {
        let header =
            format!(r#"{{"x":{{"dtype":"F32","shape":[{elements}],"data_offsets":[0,{}]}}}}"#, 4 * elements);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let size = bytes.len() as u64 + 4 * elements as u64;
        let source = Ranges { size, ..Ranges::of(bytes) };
        let asked = source.asked;
        let far = open(source).unwrap();
        asked.lock().unwrap().clear();
        let error = far.tensor("x").unwrap_err();
        assert!(matches!(&error, Error::Io { .. }), "{error}");
        assert!(asked.lock().unwrap().len() <= 1, "it went on after the first piece");
    }
}

/// Memory that is shorter each time it is looked at.
struct Shrinking(Vec<u8>, AtomicUsize);

impl AsRef<[u8]> for Shrinking {
    fn as_ref(&self) -> &[u8] {
        &self.0[..self.0.len().saturating_sub(self.1.fetch_add(1, Ordering::Relaxed))]
    }
}

#[test]
fn memory_that_shrinks_is_an_error() {
    let source = Shrinking(file(), AtomicUsize::new(0));
    let far = open(source).unwrap();
    let error = far.tensor("y").unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof));
    let message = error.to_string();
    assert!(message.contains("tensor \"y\"") && message.contains("when the file was opened"), "{message}");
    assert!(open(Shrinking(file(), AtomicUsize::new(usize::MAX / 2))).is_err());
}

/// Other bytes at each reading, as many as asked for.
struct Changing {
    versions: Vec<Vec<u8>>,
    size: u64,
    readings: AtomicUsize,
}

impl ByteSource for Changing {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let version = &self.versions[self.readings.fetch_add(1, Ordering::Relaxed) % self.versions.len()];
        version.read_at(offset, into)
    }
}

proptest! {
    #[test]
    fn a_source_that_changes_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        lengths in prop::collection::vec(0_u64..500, 1..4),
        size in prop_oneof![Just(file().len() as u64), 0_u64..500, any::<u64>()],
    ) {
        let versions = lengths.iter().enumerate().map(|(i, &length)| {
            let mut bytes = file();
            for (at, byte) in changes.iter().skip(i) {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if i > 0 {
                bytes[..8].copy_from_slice(&length.to_le_bytes());
            }
            bytes
        });
        let source = Changing { versions: versions.collect(), size, readings: AtomicUsize::new(0) };
        if let Ok(far) = open(source) {
            for name in far.names() {
                let count = far.info(&name).unwrap().shape.iter().product::<usize>();
                if let Ok(tensor) = far.tensor(&name) {
                    prop_assert_eq!(tensor.data.len(), count);
                }
            }
        }
    }
}
