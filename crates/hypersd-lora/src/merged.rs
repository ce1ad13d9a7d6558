//! The source over a base that answers with the sum.

use std::{collections::BTreeMap, sync::Arc};

use half::slice::HalfFloatSliceExt;
use hypersd_core::{Dtype, Error, HostData, HostTensor, SharedSource, TensorInfo, TensorSource};
use ndarray::ArrayViewMut2;
use rayon::prelude::*;

use crate::{file::LoraFile, finite::first_not_finite, form::Form, targets::Target};

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
    /// The user's weight · alpha / rank.
    pub(crate) scale: f32,
}

impl Merged {
    pub(crate) fn new(base: SharedSource) -> Self {
        Self { base, touched: BTreeMap::new() }
    }

    /// Puts a layer that [fits](Form::fits) on the weight.
    pub(crate) fn add(&mut self, target: &Target, layer: Layer) {
        let touched = self.touched.entry(target.name.clone());
        let touched = touched.or_insert_with(|| Touched { shape: target.shape.clone(), layers: Vec::new() });
        touched.layers.push(layer);
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
        let base = self.base.tensor(name)?;
        let Some(Touched { shape, layers }) = self.touched.get(name) else { return Ok(base) };
        let wrong = |expected: String, found: String| {
            let files: Vec<_> = layers.iter().map(|layer| layer.file.origin()).collect();
            Error::Format { origin: format!("{name} with {}", files.join(", ")), expected, found }
        };
        let mut w = to_f32(&base);
        if base.shape != *shape || w.len() != shape.iter().product::<usize>() {
            return Err(wrong(format!("shape {shape:?}"), format!("{:?}, {} elements", base.shape, w.len())));
        }
        // [out, in] or [out, in, kh, kw]: a convolution is a matrix over its flattened patches.
        let (rows, columns) = (shape[0], shape[1..].iter().product());
        for Layer { file, form, scale } in layers {
            let matrix = ArrayViewMut2::from_shape((rows, columns), &mut w)
                .expect("as many elements as the shape says");
            form.apply(&*file.source, *scale, matrix)?;
        }
        if let Some(at) = first_not_finite(&w) {
            let found = format!("{} at element {at}, where the base has {}", w[at], base.to_f32()[at]);
            return Err(wrong("finite numbers".into(), found));
        }
        Ok(HostTensor::from_f32(shape.clone(), w))
    }

    fn release(&self, name: &str) {
        self.base.release(name);
        for Layer { file, form, .. } in self.touched.get(name).iter().flat_map(|touched| &touched.layers) {
            form.tensors().for_each(|tensor| file.source.release(tensor));
        }
    }
}

/// A copy in single precision, made in parallel: the first touch of a mapped file is most of the work.
fn to_f32(tensor: &HostTensor<'_>) -> Vec<f32> {
    /// 256 KiB of f32: many pages, and small beside a core's cache.
    const CHUNK: usize = 1 << 16;
    fn copy<T: Sync>(x: &[T], chunk: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
        let mut w = vec![0.0; x.len()];
        w.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(w, x)| chunk(x, w));
        w
    }
    match &tensor.data {
        HostData::F32(x) => copy(x, |x, w| w.copy_from_slice(x)),
        HostData::F16(x) => copy(x, |x, w| x.convert_to_f32_slice(w)),
        HostData::BF16(x) => copy(x, |x, w| x.convert_to_f32_slice(w)),
        _ => tensor.to_f32().into_owned(),
    }
}
