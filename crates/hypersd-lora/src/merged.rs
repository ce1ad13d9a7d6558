//! The source over a base that answers with the sum.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use hypersd_core::{Dtype, Error, HostData, HostTensor, SharedSource, TensorInfo, TensorSource};

use crate::{file::LoraFile, floats::first_not_finite, form::Form, sum::Sum};

/// The weights of one network with the LoRA files in them.
///
/// Weights that no file touches pass straight through. A touched one is computed anew from the untouched base
/// each time it is asked for: in f32, and handed out as [`Dtype::F32`] whatever the base stores, so that the one
/// rounding is the loader's, to the type the network computes in.
pub struct Merged {
    base: SharedSource,
    touched: BTreeMap<String, Touched>,
}

/// A weight that files change, by the shape it had when they were checked against it.
struct Touched {
    shape: Vec<usize>,
    layers: Vec<Layer>,
}

/// What one file does to one weight.
pub(crate) struct Layer {
    pub(crate) file: Arc<LoraFile>,
    pub(crate) form: Form,
    /// The user's.
    pub(crate) weight: f32,
}

impl Merged {
    pub(crate) fn new(base: SharedSource) -> Self {
        Self { base, touched: BTreeMap::new() }
    }

    /// Puts a layer that [fits](Form::fits) the shape on the tensor.
    pub(crate) fn add(&mut self, name: String, shape: Vec<usize>, layer: Layer) {
        self.touched.entry(name).or_insert_with(|| Touched { shape, layers: Vec::new() }).layers.push(layer);
    }

    /// Names of the weights that differ from the base, sorted. To go from one set of LoRA files to another, read
    /// the names touched by either; to take all away, read these from [`base`](Self::base).
    #[must_use]
    pub fn touched(&self) -> Vec<&str> {
        self.touched.keys().map(String::as_str).collect()
    }

    /// The source underneath.
    #[must_use]
    pub fn base(&self) -> &SharedSource {
        &self.base
    }

    /// A touched weight with its layers, in `sum`.
    fn merge(
        &self,
        name: &str,
        Touched { shape, layers }: &Touched,
        sum: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let wrong = |expected: String, found: String| {
            let files: Vec<_> = layers.iter().map(|layer| layer.file.origin()).collect();
            Error::Format { origin: format!("{name} with {}", files.join(", ")), expected, found }
        };
        let base = self.base.tensor(name)?;
        if base.shape != *shape || base.data.len() != shape.iter().product::<usize>() {
            return Err(wrong(
                format!("shape {shape:?}"),
                format!("{:?}, {} elements", base.shape, base.data.len()),
            ));
        }
        let mut w = Sum::new(base.data, sum);
        let mut finite = true;
        for Layer { file, form, weight } in layers {
            finite = form.apply(&*file.source, *weight, &mut w, shape)?;
        }
        if finite {
            return Ok(());
        }
        let at = first_not_finite(sum).unwrap_or_default();
        let base = self.base.tensor(name)?;
        let found = format!("{} at element {at}, where the base has {}", sum[at], base.to_f32()[at]);
        Err(wrong("finite numbers".into(), found))
    }
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Merged({}, {} touched)", self.origin(), self.touched.len())
    }
}

impl TensorSource for Merged {
    fn origin(&self) -> String {
        self.base.origin()
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let info = self.base.info(name)?;
        Some(if self.touched.contains_key(name) { TensorInfo { dtype: Dtype::F32, ..info } } else { info })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let Some(touched) = self.touched.get(name) else { return self.base.tensor(name) };
        let mut sum = Vec::new();
        self.merge(name, touched, &mut sum)?;
        Ok(HostTensor::from_f32(touched.shape.clone(), sum))
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        let Some(touched) = self.touched.get(name) else { return self.base.tensor_in(name, scratch) };
        self.merge(name, touched, scratch)?;
        Ok(HostTensor { shape: touched.shape.clone(), data: HostData::F32(Cow::Borrowed(scratch)) })
    }

    fn release(&self, name: &str) {
        self.base.release(name);
        for Layer { file, form, .. } in self.touched.get(name).iter().flat_map(|touched| &touched.layers) {
            form.tensors().into_iter().for_each(|tensor| file.source.release(tensor));
        }
    }
}
