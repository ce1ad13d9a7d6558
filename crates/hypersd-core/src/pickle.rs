//! Checkpoints as PyTorch saves them: `.ckpt`, `.pt`, `.pth` and `.bin`.
//!
//! They are pickles, which are programs: Python runs what they say. This reader does not. It knows the few operations that
//! describe dictionaries of tensors ([`machine`]), names what else a file asks for, and executes nothing. The tensors lie beside
//! the pickle and are read where they are, when they are wanted.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    error::Error,
    file::Bytes,
    host::{Dtype, HostData, HostTensor, TensorInfo},
    location::Location,
    names::nearest,
    numbers,
    source::TensorSource,
};

mod archive;
mod globals;
mod legacy;
mod machine;
mod tensors;

use archive::Stored;

/// What messages call such a file.
const FORMAT: &str = "a PyTorch checkpoint";
/// Most bytes of a pickle. One that names the tensors of SDXL has some 400 thousand; with an optimizer's state, some million.
const LONGEST: u64 = if cfg!(test) { 1 << 16 } else { 1 << 26 };

/// A checkpoint: its pickle read once, its tensors read where they lie.
#[derive(Debug)]
pub(crate) struct PickleFile {
    location: Location,
    bytes: Bytes,
    tensors: BTreeMap<String, Entry>,
}

/// A tensor in a file: a view of a storage.
#[derive(Debug)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Elements from one to the next, for each extent.
    strides: Vec<usize>,
    /// Place of the first element in the storage, and behind the last that is seen.
    first: u64,
    end: u64,
    storage: Stored,
}

impl PickleFile {
    /// Reads and checks what describes the tensors: every one is inside its storage, and that inside the file.
    pub(crate) fn read(location: Location, bytes: Bytes) -> Result<Self, Error> {
        let zip = bytes.read(0..bytes.size().min(4), u8::from_le_bytes);
        let tensors = match &*zip.map_err(|error| location.io(error))? {
            b"PK\x03\x04" => archive::read(&location, &bytes)?,
            _ => legacy::read(&location, &bytes)?,
        };
        Ok(Self { location, bytes, tensors })
    }

    fn origin_of(&self, name: &str) -> String {
        format!("{}, tensor {name:?}", self.location)
    }
}

impl Entry {
    /// True where elements follow each other as in a file that has nothing else.
    fn is_in_order(&self) -> bool {
        let mut step = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
            let follows = extent == 1 || stride == step;
            step *= extent;
            follows
        })
    }

    /// The elements of the tensor, of those from its first one on.
    fn gather<'a, T: Copy>(&self, elements: &[T]) -> Cow<'a, [T]> {
        let count = self.shape.iter().product();
        let mut gathered = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        while gathered.len() < count {
            gathered.push(elements[at]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= index[axis] * self.strides[axis];
                index[axis] = 0;
            }
        }
        Cow::Owned(gathered)
    }
}

impl TensorSource for PickleFile {
    fn origin(&self) -> String {
        self.location.to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let entry = self.tensors.get(name)?;
        Some(TensorInfo { dtype: entry.dtype, shape: entry.shape.clone() })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::NoSuchTensor {
            origin: self.origin(),
            name: name.to_string(),
            near: nearest(name, self.tensors.keys().map(String::as_str)),
        })?;
        let width = numbers::width(entry.dtype).unwrap_or(1) as u64;
        let start = entry.storage.start(&self.location, &self.bytes)?;
        let range = start + entry.first * width..start + entry.end * width;
        let data = numbers::read(&self.bytes, range, entry.dtype, || self.origin_of(name))?;
        let data = match data {
            data if entry.is_in_order() => data,
            HostData::F32(x) => HostData::F32(entry.gather(&x)),
            HostData::F16(x) => HostData::F16(entry.gather(&x)),
            HostData::BF16(x) => HostData::BF16(entry.gather(&x)),
        };
        Ok(HostTensor { shape: entry.shape.clone(), data })
    }

    fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name) {
            self.bytes.release(entry.storage.around());
        }
    }
}

#[cfg(test)]
mod tests;
