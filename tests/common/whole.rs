//! Whole pipelines by a list of cases: each is run on the pipeline that one before it with the same networks has loaded.

use std::collections::BTreeMap;

use hypersd::{Image, Pipeline, Request, Tensor};

use super::parity;

/// A case of a `cases.json`.
pub(crate) trait Whole {
    fn name(&self) -> &str;
    /// What the pipeline is made of: of two cases with the same, one loads it.
    fn networks(&self) -> String;
    fn load(&self) -> Pipeline;
    fn request(&self) -> Request;
}

/// Asserts that every case makes what diffusers made of it.
pub(crate) fn assert_are_diffusers<C: Whole>(folder: &str, cases: impl IntoIterator<Item = C>) {
    let mut pipelines = BTreeMap::new();
    for case in cases {
        let pipeline = pipelines.entry(case.networks()).or_insert_with(|| case.load());
        parity::assert_is_diffusers(folder, case.name(), &case.request(), pipeline);
    }
}

/// A picture of the fixtures.
pub(crate) fn picture(name: &str) -> Image {
    Image::open(parity::fixtures().join(name)).expect("a picture")
}

pub(crate) fn numbers(x: Tensor<4>) -> Vec<f32> {
    x.into_data().try_into_vec_as().expect("f32")
}
