//! GGUF files (versions 2 and 3), as stable-diffusion.cpp and ComfyUI-GGUF's converter write them.
//!
//! The format is ggml's: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use crate::{
    error::Error,
    file::Bytes,
    host::{Dtype, HostData, HostTensor, TensorInfo},
    location::Location,
    names::nearest,
    numbers,
    source::TensorSource,
};

mod blocks;
mod header;

use blocks::Blocks;

/// A GGUF file: the header parsed once, the tensors read where they lie, and their blocks widened as they are read.
#[derive(Debug)]
pub(crate) struct GgufFile {
    location: Location,
    bytes: Bytes,
    tensors: BTreeMap<String, Entry>,
}

/// A tensor in a file.
#[derive(Debug)]
struct Entry {
    shape: Vec<usize>,
    kind: ElementKind,
    /// Where the elements are in the file; empty for a kind whose size is not known.
    bytes: Range<u64>,
}

/// How ggml keeps the elements of a tensor.
#[derive(Debug, Clone, Copy)]
enum ElementKind {
    /// One by one.
    Plain(Dtype),
    /// In blocks with common scales.
    Blocks(&'static Blocks),
    /// In a way that is known by its name only.
    Unread(&'static str),
}

impl ElementKind {
    fn dtype(self) -> Dtype {
        match self {
            Self::Plain(dtype) => dtype,
            Self::Blocks(blocks) => Dtype::Blocks(blocks.name),
            Self::Unread(name) => Dtype::Other(name),
        }
    }
}

impl GgufFile {
    /// Reads and checks a header: every tensor is inside the file.
    pub(crate) fn read(location: Location, bytes: Bytes) -> Result<Self, Error> {
        let tensors = header::read(&location, &bytes)?;
        Ok(Self { location, bytes, tensors })
    }

    fn origin_of(&self, name: &str) -> String {
        format!("{}, tensor {name:?}", self.location)
    }

    fn entry(&self, name: &str) -> Result<&Entry, Error> {
        self.tensors.get(name).ok_or_else(|| Error::NoSuchTensor {
            origin: self.origin(),
            name: name.to_string(),
            near: nearest(name, self.tensors.keys().map(String::as_str)),
        })
    }

    /// The elements of blocks, in `wide` instead of what was there.
    fn widen(&self, name: &str, entry: &Entry, blocks: &Blocks, wide: &mut Vec<f32>) -> Result<(), Error> {
        let stored = self.bytes.read(entry.bytes.clone(), u8::from_le_bytes);
        let stored = stored.map_err(|source| Error::Io { origin: self.origin_of(name), source })?;
        wide.clear();
        wide.resize(stored.len() / blocks.bytes * blocks.elements, 0.0);
        blocks.widen_all(&stored, wide);
        Ok(())
    }
}

impl TensorSource for GgufFile {
    fn origin(&self) -> String {
        self.location.to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let entry = self.tensors.get(name)?;
        Some(TensorInfo { dtype: entry.kind.dtype(), shape: entry.shape.clone() })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let entry = self.entry(name)?;
        let data = match entry.kind {
            ElementKind::Blocks(blocks) => {
                let mut wide = Vec::new();
                self.widen(name, entry, blocks, &mut wide)?;
                HostData::F32(Cow::Owned(wide))
            }
            kind => numbers::read(&self.bytes, entry.bytes.clone(), kind.dtype(), || self.origin_of(name))?,
        };
        Ok(HostTensor { shape: entry.shape.clone(), data })
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        let entry = self.entry(name)?;
        let ElementKind::Blocks(blocks) = entry.kind else { return self.tensor(name) };
        self.widen(name, entry, blocks, scratch)?;
        Ok(HostTensor { shape: entry.shape.clone(), data: HostData::F32(Cow::Borrowed(scratch)) })
    }

    fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            self.bytes.release(entry.bytes.clone());
        }
    }
}

#[cfg(test)]
mod tests;
