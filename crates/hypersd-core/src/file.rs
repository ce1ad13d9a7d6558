//! Safetensors files, read where they lie.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use bytemuck::Pod;
use half::{bf16, f16};
use safetensors::SafeTensors;

use crate::{
    error::Error,
    host::{Dtype, HostData, HostTensor, TensorInfo},
    location::Location,
    names::nearest,
    source::TensorSource,
};

mod bytes;
mod lookalike;

use bytes::Bytes;

/// A safetensors file: the header parsed once, the tensors read where they lie.
///
/// Opening costs the header only: a file on disk is mapped. [`tensor`](TensorSource::tensor) borrows from the file; it
/// copies only where the data is not aligned, by the writer of the file or in the program that it is embedded in. A
/// file on disk must not be changed while it is open: the system would end the program (`SIGBUS`) at the next access
/// to a page that is gone.
#[derive(Debug)]
pub struct SafetensorsFile {
    location: Location,
    bytes: Bytes,
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
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let bytes = Bytes::open(&location)?;
        let (length, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| lookalike::explain(&location, &bytes, &error))?;
        let start = size_of::<u64>() + length;
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let dtype = dtype(info.dtype);
            let info = TensorInfo { dtype, shape: info.shape.clone() };
            (name, Entry { info, bytes: start + from..start + to })
        });
        Ok(Self {
            tensors: tensors.collect(),
            metadata: header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            location,
            bytes,
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
        self.location.to_string()
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
        let bytes = &self.bytes[entry.bytes.clone()];
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
        if let Some(entry) = self.tensors.get(name) {
            self.bytes.release(&entry.bytes);
        }
    }
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
