//! What the integration tests of the networks share.

use std::{collections::BTreeMap, fs, path::PathBuf};

use burn::{module::Module, tensor::Tensor};
use hypersd_core::{LoadOptions, SafetensorsFile, load};
use hypersd_models::ops::weight_order;
use hypersd_testing::{Array, device, dtype, weights};
use serde::de::DeserializeOwned;

const PACKAGE: &str = "crates/hypersd-models";

/// The path of a committed fixture.
pub(crate) fn path(name: &str) -> PathBuf {
    hypersd_testing::fixtures(PACKAGE).join(name)
}

/// The tensors of a safetensors fixture.
pub(crate) fn fixture(name: &str) -> BTreeMap<String, Array> {
    hypersd_testing::fixture(path(name))
}

/// A configuration that diffusers has written.
pub(crate) fn config<T: DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(path(name)).expect("a committed fixture");
    serde_json::from_str(&text).expect("a valid configuration")
}

/// The module with drawn weights.
pub(crate) fn loaded<M: Module>(module: M, name: &str) -> M {
    let source = SafetensorsFile::open(weights(PACKAGE).join(name)).expect("weights");
    let options =
        LoadOptions { device: device(), dtype: dtype(), order: weight_order(&device()), ignore: &[] };
    load(module, &source, &options).expect("the weights fit the module")
}

/// Zeros of a shape.
pub(crate) fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::<D>::zeros(shape, &device()).cast(dtype())
}
