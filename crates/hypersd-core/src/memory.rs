//! Tensors that are in memory already.

use std::collections::BTreeMap;

use crate::{
    error::Error,
    host::{HostTensor, TensorInfo},
    names::nearest,
    source::TensorSource,
};

/// A source of tensors held in memory: for tests, for weights made on the fly, for small files read at once.
///
/// Collect it from names and tensors; where a name comes twice, the later tensor stays.
///
/// ```
/// use hypersd_core::{HostTensor, MemorySource, TensorSource};
///
/// let source: MemorySource = [("bias".to_string(), HostTensor::from_f32([2], vec![0.5, -1.0]))].into_iter().collect();
/// assert_eq!(*source.tensor("bias")?.to_f32(), [0.5, -1.0]);
/// # Ok::<(), hypersd_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    tensors: BTreeMap<String, HostTensor<'static>>,
}

impl FromIterator<(String, HostTensor<'static>)> for MemorySource {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor<'static>)>>(tensors: I) -> Self {
        Self { tensors: tensors.into_iter().collect() }
    }
}

impl TensorSource for MemorySource {
    fn origin(&self) -> String {
        "tensors in memory".to_string()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(HostTensor::info)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        self.tensors.get(name).map(HostTensor::view).ok_or_else(|| Error::NoSuchTensor {
            origin: self.origin(),
            name: name.to_string(),
            near: nearest(name, self.tensors.keys().map(String::as_str)),
        })
    }
}
