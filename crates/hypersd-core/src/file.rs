//! Safetensors files, read where they lie.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    error::Error,
    host::{Dtype, HostTensor, TensorInfo},
    location::Location,
    names::nearest,
    numbers,
    source::TensorSource,
};

mod bytes;
mod header;
mod lookalike;

pub(crate) use bytes::Bytes;
pub(crate) use lookalike::Kind;

/// A safetensors file: the header parsed once, the tensors read where they lie.
///
/// Opening costs the header only. [`tensor`](TensorSource::tensor) borrows from a file that is mapped or in memory; it
/// copies only where the data is not aligned, by the writer of the file or in the memory that it is in. From any other
/// [source of bytes](crate::ByteSource) it reads the tensor's own, and nothing of them stays. A file on disk must not be
/// changed while it is open: the system would end the program (`SIGBUS`) at the next access to a page that is gone.
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
    bytes: Range<u64>,
}

impl SafetensorsFile {
    /// Opens and checks a file: every offset in its header is inside the file and nothing overlaps.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a file that is damaged or something else, and [`Error::Unsupported`]
    /// for a known other format; [`WeightFile`](crate::WeightFile) reads pickles (`.ckpt`, `.pth`, `.bin`) and GGUF as well.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let bytes = Bytes::open(&location, "a safetensors file")?;
        Self::read(location, bytes)
    }

    /// Checks a file whose bytes are at hand.
    pub(crate) fn read(location: Location, bytes: Bytes) -> Result<Self, Error> {
        let (start, header) = header::read(&location, &bytes)?;
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let (from, to) = info.data_offsets;
            let (from, to) = (from as u64, to as u64);
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

    /// What a tensor is called in messages.
    fn origin_of(&self, name: &str) -> String {
        format!("{}, tensor {name:?}", self.location)
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
        let data =
            numbers::read(&self.bytes, entry.bytes.clone(), entry.info.dtype, || self.origin_of(name))?;
        Ok(HostTensor { shape: entry.info.shape.clone(), data })
    }

    fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            self.bytes.release(entry.bytes.clone());
        }
    }
}

fn dtype(stored: safetensors::Dtype) -> Dtype {
    use safetensors::Dtype as Stored;
    match stored {
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::F64 => Dtype::F64,
        Stored::F8_E4M3 => Dtype::F8E4M3,
        Stored::F8_E5M2 => Dtype::F8E5M2,
        Stored::I64 => Dtype::Integer("I64"),
        Stored::I32 => Dtype::Integer("I32"),
        Stored::I16 => Dtype::Integer("I16"),
        Stored::I8 => Dtype::Integer("I8"),
        Stored::U64 => Dtype::Integer("U64"),
        Stored::U32 => Dtype::Integer("U32"),
        Stored::U16 => Dtype::Integer("U16"),
        Stored::U8 => Dtype::Integer("U8"),
        Stored::BOOL => Dtype::Other("BOOL"),
        _ => Dtype::Other("an exotic type"),
    }
}

#[cfg(test)]
mod tests;
