//! Weights of 8 bits that are stored with scales beside them, as ComfyUI's files are.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use crate::{
    error::Error,
    host::{Dtype, HostData, HostTensor, TensorInfo},
    source::{SharedSource, TensorSource},
};

/// What stands in the place of `.weight` in the name of a weight's scale, in older files and in newer ones.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
/// Ends of names that say how to multiply in 8 bits, and that the file is of this kind: nothing that changes a weight.
const HINTS: [&str; 4] = ["scaled_fp8", ".scale_input", ".input_scale", ".comfy_quant"];

/// A source that shows weights multiplied by their scales, and no scales.
pub(crate) struct Scaled {
    source: SharedSource,
    /// Weight to scale.
    scale_of: BTreeMap<String, String>,
}

impl Scaled {
    /// The source itself where it has no scales, else a source over it.
    ///
    /// # Errors
    /// [`Error::Format`] for a scale without a weight, of a weight that is not of 8 bits, or of another shape than one number or
    /// one for each row.
    pub(crate) fn over(source: SharedSource) -> Result<SharedSource, Error> {
        let mut scale_of = BTreeMap::new();
        for name in source.names() {
            let Some(module) = SCALES.iter().find_map(|end| name.strip_suffix(end)) else { continue };
            let weight = format!("{module}.weight");
            check(&source, &weight, &name)?;
            scale_of.insert(weight, name);
        }
        Ok(if scale_of.is_empty() { source } else { Arc::new(Self { source, scale_of }) })
    }
}

fn check(source: &SharedSource, weight: &str, scale: &str) -> Result<(), Error> {
    let wrong = |expected: &str, found: String| Error::Format {
        origin: format!("{}, tensor {scale:?}", source.origin()),
        expected: expected.to_string(),
        found,
    };
    let expected = "the scale of a weight in F8_E4M3 or F8_E5M2";
    let Some(TensorInfo { dtype, shape }) = source.info(weight) else {
        return Err(wrong(expected, format!("no {weight:?}")));
    };
    if !matches!(dtype, Dtype::F8E4M3 | Dtype::F8E5M2) {
        return Err(wrong(expected, format!("{weight:?} in {dtype}")));
    }
    let scales = source.info(scale).map(|info| info.shape).unwrap_or_default();
    let rows = shape.first().copied().unwrap_or(1);
    match scales.iter().product::<usize>() {
        1 => Ok(()),
        count if count == rows && scales.first() == Some(&rows) => Ok(()),
        _ => Err(wrong(&format!("one number, or one for each of {rows} rows"), format!("shape {scales:?}"))),
    }
}

impl TensorSource for Scaled {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn names(&self) -> Vec<String> {
        let beside = |name: &&String| HINTS.iter().chain(&SCALES).any(|end| name.ends_with(end));
        self.source.names().iter().filter(|name| !beside(name)).cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let info = self.source.info(name)?;
        Some(if self.scale_of.contains_key(name) { TensorInfo { dtype: Dtype::F32, ..info } } else { info })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let Some(scale) = self.scale_of.get(name) else { return self.source.tensor(name) };
        let HostTensor { shape, data } = self.source.tensor(name)?;
        let scales = self.source.tensor(scale)?;
        let scales = scales.to_f32();
        let mut scaled = HostTensor { shape: shape.clone(), data }.to_f32().into_owned();
        // What is read need not be what was checked, if the bytes change meanwhile.
        let run = (scaled.len() / scales.len().max(1)).max(1);
        for (row, scale) in scaled.chunks_mut(run).zip(scales.iter()) {
            row.iter_mut().for_each(|x| *x *= scale);
        }
        Ok(HostTensor { shape, data: HostData::F32(Cow::Owned(scaled)) })
    }

    fn release(&self, name: &str) {
        self.source.release(name);
    }
}
