//! LoRA files over a base, from the outside.

mod accounting;
mod forms;
mod hostile;
mod parity;
mod properties;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use hypersd_core::{
    Error, HostTensor, MemorySource, SafetensorsFile, SharedSource, TensorInfo, TensorSource,
};
use hypersd_lora::{Base, Lora, LoraFile, Merge, Strictness, merge};

fn path(fixture: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(fixture)
}

fn file(fixture: &str) -> SharedSource {
    Arc::new(SafetensorsFile::open(path(fixture)).unwrap())
}

fn memory<K: Into<String>>(tensors: impl IntoIterator<Item = (K, HostTensor<'static>)>) -> SharedSource {
    Arc::new(tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect::<MemorySource>())
}

/// A tensor whose elements do not matter.
fn some(shape: &[usize]) -> HostTensor<'static> {
    HostTensor::from_f32(shape, vec![0.25; shape.iter().product()])
}

/// A network of a model of no known family.
fn network(prefix: &'static str, source: SharedSource) -> Base {
    Base { prefix, family: None, source }
}

fn unet(source: SharedSource) -> Base {
    network("lora_unet_", source)
}

fn lora(source: SharedSource, weight: f32) -> Lora {
    Lora { file: Arc::new(LoraFile::from_source(source).unwrap()), weight }
}

/// One file over a UNet.
fn over(base: SharedSource, file: SharedSource, weight: f32) -> Result<Merge, hypersd_lora::Error> {
    merge(&[unet(base)], &[lora(file, weight)], Strictness::Strict)
}

/// Names and shapes without elements, for models of real size. Scalars are 64.
#[derive(Default)]
struct Shapes(BTreeMap<String, Vec<usize>>);

impl TensorSource for Shapes {
    fn origin(&self) -> String {
        "shapes.safetensors".into()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(TensorInfo { dtype: hypersd_core::Dtype::F32, shape: self.0.get(name)?.clone() })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        match self.0.get(name) {
            Some(shape) if shape.is_empty() => Ok(HostTensor::from_f32([], vec![64.0])),
            _ => Err(Error::NoSuchTensor { origin: self.origin(), name: name.into(), near: Vec::new() }),
        }
    }
}
