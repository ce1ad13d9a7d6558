//! Weight files of every kind that is read.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::Error,
    file::{Bytes, Kind, SafetensorsFile},
    gguf::GgufFile,
    host::{HostTensor, TensorInfo},
    location::Location,
    pickle::PickleFile,
    scaled::Scaled,
    source::{SharedSource, TensorSource},
};

/// A file of tensors in any format that hypersd reads, known by its content and not by its name:
///
/// - safetensors, as [`SafetensorsFile`] reads it;
/// - GGUF of versions 2 and 3: its blocks (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K) are widened to single precision as ggml
///   defines it;
/// - what PyTorch saves (`.ckpt`, `.pt`, `.pth`, `.bin`): pickles of dictionaries of tensors. Nothing in them is executed; one that
///   wants more than tensors is refused, by the name of what it wants.
///
/// Where a file keeps weights in 8 bits with a scale beside each (`*.scale_weight`, `*.weight_scale`), they are seen multiplied.
///
/// ```no_run
/// use hypersd_core::{TensorSource, WeightFile};
///
/// let file = WeightFile::open("v1-5-pruned.ckpt")?;
/// assert!(file.info("model.diffusion_model.input_blocks.0.0.weight").is_some());
/// # Ok::<(), hypersd_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WeightFile {
    source: SharedSource,
    metadata: Arc<BTreeMap<String, String>>,
}

impl WeightFile {
    /// Opens a file and checks all that describes its tensors; of the tensors themselves nothing is read.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a file that is damaged or something else, and [`Error::Unsupported`] for what
    /// hypersd knows and does not read.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let bytes = Bytes::open(&location, "a weight file")?;
        let mut metadata = BTreeMap::new();
        let source: SharedSource = match Kind::of(&location, &bytes)? {
            Kind::Safetensors => {
                let file = SafetensorsFile::read(location, bytes)?;
                metadata.clone_from(file.metadata());
                Arc::new(file)
            }
            Kind::Gguf => Arc::new(GgufFile::read(location, bytes)?),
            Kind::Pickle => Arc::new(PickleFile::read(location, bytes)?),
        };
        Ok(Self { source: Scaled::over(source)?, metadata: Arc::new(metadata) })
    }

    /// The `__metadata__` of a safetensors file: where it comes from and, in LoRA files, how it was trained. Empty in others.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

impl TensorSource for WeightFile {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.source.info(name)
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        self.source.tensor(name)
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        self.source.tensor_in(name, scratch)
    }

    fn release(&self, name: &str) {
        self.source.release(name);
    }
}

#[cfg(test)]
mod tests;
