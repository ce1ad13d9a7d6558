//! What the integration tests of the networks share.

use std::{collections::BTreeMap, fs, path::PathBuf};

use burn::tensor::Tensor;
use hypersd_core::{LoadOptions, SafetensorsFile, Slots, load};
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

/// The network with drawn weights, of a file that may have others as well that match `ignore`.
pub(crate) fn loaded<N: Slots>(network: N, name: &str, ignore: &'static [&'static str]) -> N {
    let source = SafetensorsFile::open(weights(PACKAGE).join(name)).expect("weights");
    let options = LoadOptions { device: device(), dtype: dtype(), ignore };
    load(network, &source, &options).expect("the weights fit the network")
}

/// Zeros of a shape.
pub(crate) fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::<D>::zeros(shape, &device()).cast(dtype())
}
