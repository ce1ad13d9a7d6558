//! Safetensors files through a memory map.

use std::{borrow::Cow, collections::BTreeMap, fs::File, ops::Range, path::Path, path::PathBuf};

use bytemuck::Pod;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::SafeTensors;

use crate::{
    error::Error,
    host::{Dtype, HostData, HostTensor, TensorInfo},
    names::nearest,
    source::TensorSource,
};

mod lookalike;

/// A safetensors file: the header parsed once, the tensors read where they lie.
///
/// Opening costs the header only. [`tensor`](TensorSource::tensor) borrows from the map; it copies only where
/// the writer of the file did not align its data. The file must not be changed while it is open: the system
/// would end the program (`SIGBUS`) at the next access to a page that is gone.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    info: TensorInfo,
    /// Where the elements are in the file.
    bytes: Range<usize>,
}

impl SafetensorsFile {
    /// Opens and checks a file: every offset in its header is inside the file and nothing overlaps.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a file that is damaged or something else, and [`Error::Unsupported`]
    /// for a known other format, above all pickles (`.ckpt`, `.pth`, `.bin`), which are never executed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let map = map(path)?;
        let (length, header) =
            SafeTensors::read_metadata(&map).map_err(|error| lookalike::explain(path, &map, &error))?;
        let start = size_of::<u64>() + length;
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let dtype = dtype(info.dtype);
            let info = TensorInfo { dtype, shape: info.shape.clone() };
            (name, Entry { info, bytes: start + from..start + to })
        });
        Ok(Self {
            path: path.to_path_buf(),
            tensors: tensors.collect(),
            metadata: header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            map,
        })
    }

    /// The file's `__metadata__`: where it comes from and, in LoRA files, how it was trained.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

impl TensorSource for SafetensorsFile {
    fn origin(&self) -> String {
        self.path.display().to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|entry| entry.info.clone())
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::NoSuchTensor {
            origin: self.origin(),
            name: name.to_string(),
            near: nearest(name, self.tensors.keys().map(String::as_str)),
        })?;
        let bytes = &self.map[entry.bytes.clone()];
        let data = match entry.info.dtype {
            Dtype::F32 => HostData::F32(elements(bytes, f32::from_le_bytes)),
            Dtype::F16 => HostData::F16(elements(bytes, f16::from_le_bytes)),
            Dtype::BF16 => HostData::BF16(elements(bytes, bf16::from_le_bytes)),
            Dtype::Other(other) => {
                return Err(Error::Unsupported {
                    origin: format!("{}, tensor {name:?}", self.origin()),
                    found: format!("element type {other}"),
                    instead: "convert the file's weights to F32, F16 or BF16".to_string(),
                });
            }
        };
        Ok(HostTensor { shape: entry.info.shape.clone(), data })
    }

    fn release(&self, name: &str) {
        #[cfg(unix)]
        if let Some(entry) = self.tensors.get(name) {
            forget_pages(&self.map, &entry.bytes);
        }
        #[cfg(not(unix))]
        let _ = name;
    }
}

/// Maps a regular file for reading.
fn map(path: &Path) -> Result<Mmap, Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let kind = std::fs::metadata(path).map_err(io)?;
    // Opening a pipe would wait for a writer, and a directory cannot be mapped.
    if !kind.is_file() {
        return Err(Error::Format {
            origin: path.display().to_string(),
            expected: "a safetensors file".to_string(),
            found: if kind.is_dir() { "a directory" } else { "no regular file" }.to_string(),
        });
    }
    let file = File::open(path).map_err(io)?;
    #[expect(
        unsafe_code,
        reason = "mapping a file; the only other way is to read gigabytes that may not be needed"
    )]
    // SAFETY: the map is read-only and only ever seen as plain bytes and floats, for which every bit pattern is
    // valid. That nobody truncates the file meanwhile is what the documentation of `SafetensorsFile` asks for.
    unsafe { Mmap::map(&file) }.map_err(io)
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

/// The elements in `bytes`, borrowed where their alignment and the byte order of the machine allow it.
fn elements<const N: usize, T: Pod>(bytes: &[u8], from_le_bytes: fn([u8; N]) -> T) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) if cfg!(target_endian = "little") => Cow::Borrowed(elements),
        _ => Cow::Owned(bytes.as_chunks().0.iter().map(|&chunk| from_le_bytes(chunk)).collect()),
    }
}

fn dtype(stored: safetensors::Dtype) -> Dtype {
    use safetensors::Dtype as Stored;
    match stored {
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::F64 => Dtype::Other("F64"),
        Stored::F8_E4M3 => Dtype::Other("F8_E4M3"),
        Stored::F8_E5M2 => Dtype::Other("F8_E5M2"),
        Stored::I64 => Dtype::Other("I64"),
        Stored::I32 => Dtype::Other("I32"),
        Stored::I16 => Dtype::Other("I16"),
        Stored::I8 => Dtype::Other("I8"),
        Stored::U64 => Dtype::Other("U64"),
        Stored::U32 => Dtype::Other("U32"),
        Stored::U16 => Dtype::Other("U16"),
        Stored::U8 => Dtype::Other("U8"),
        Stored::BOOL => Dtype::Other("BOOL"),
        _ => Dtype::Other("an exotic type"),
    }
}

#[cfg(test)]
mod tests;
