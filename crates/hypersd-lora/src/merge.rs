//! Files against a base: first the accounting, then a source that answers with the sum.

use std::{collections::BTreeMap, sync::Arc};

use half::slice::HalfFloatSliceExt;
use hypersd_core::{Dtype, Error as CoreError, HostData, HostTensor, SharedSource, TensorInfo, TensorSource};
use ndarray::ArrayViewMut2;
use rayon::prelude::*;

use crate::{
    error::{Error, WrongShape},
    family::Family,
    file::{LoraFile, Module},
    form::Form,
    report::{LoraReport, Reason, Unmatched},
    targets::{Base, Targets},
};

/// A LoRA file and how much of it.
#[derive(Debug, Clone)]
pub struct Lora {
    /// The file.
    pub file: Arc<LoraFile>,
    /// 1 is what it was trained for; 0 leaves the base as it is, bit for bit; negative takes away.
    pub weight: f32,
}

/// Whether a module that fits nothing is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// It is: nearly always it means that the file is for another model.
    #[default]
    Strict,
    /// It is listed in the report, as long as some other module of the file fits. A module that finds its weight
    /// with another shape is an error all the same: such a file is for another model.
    Lenient,
}

/// What [`merge`] gives back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Merge {
    /// One source over each network's, in the order given.
    pub sources: Vec<Arc<Merged>>,
    /// One account for each file, in the order given.
    pub reports: Vec<LoraReport>,
}

/// Puts LoRA files over the networks of a base model. Reads no weight yet: see [`Merged`].
///
/// # Errors
/// [`Error::Unmatched`] for a file that was not applied in full, unless lenient; [`Error::NothingMatched`] for
/// one that was not applied at all; [`Error::Shape`] for one made for a model of other widths;
/// [`hypersd_core::Error::Argument`] for a weight that is not finite.
pub fn merge(bases: &[Base], loras: &[Lora], strictness: Strictness) -> Result<Merge, Error> {
    let targets = Targets::new(bases)?;
    let family = bases.iter().map(|base| Family::of(&*base.source)).find(|&family| family != Family::Unknown);
    let family = family.unwrap_or(Family::Unknown);
    let mut merged: Vec<_> = bases.iter().map(|base| Merged::new(base.source.clone())).collect();
    let mut reports = Vec::with_capacity(loras.len());
    for lora in loras {
        if !lora.weight.is_finite() {
            return Err(Error::Source(CoreError::Argument {
                argument: "weight",
                expected: format!("a finite number for {}", lora.file.origin()),
                found: lora.weight.to_string(),
            }));
        }
        let report = layer(lora, &targets, family, &mut merged)?;
        match strictness {
            _ if report.applied == 0 => return Err(Error::NothingMatched(Box::new(report))),
            Strictness::Strict if report.applied < report.modules => {
                return Err(Error::Unmatched(Box::new(report)));
            }
            _ => reports.push(report),
        }
    }
    Ok(Merge { sources: merged.into_iter().map(Arc::new).collect(), reports })
}

/// Resolves one file and adds what fits to the layers of the networks.
fn layer(lora: &Lora, targets: &Targets, family: Family, merged: &mut [Merged]) -> Result<LoraReport, Error> {
    let file = &lora.file;
    let mut report = LoraReport {
        file: file.origin(),
        weight: lora.weight,
        modules: file.modules().len() + file.foreign.len(),
        applied: 0,
        ranks: BTreeMap::new(),
        alphas: Vec::new(),
        unmatched: Vec::new(),
        made_for: Family::of(&*file.source),
        base: family,
    };
    let mut wrong_shape: Option<WrongShape> = None;
    for Module { name, form } in file.modules() {
        let Some(target) = targets.get(name) else {
            let reason = why_unmatched(name, targets, &report);
            report.unmatched.push(Unmatched { module: name.clone(), reason });
            continue;
        };
        if !form.fits(&target.shape) {
            let wrong = wrong_shape.get_or_insert_with(|| WrongShape {
                file: report.file.clone(),
                module: name.clone(),
                target: target.name.clone(),
                expected: target.shape.clone(),
                lora: form.shape(),
                count: 0,
                of: report.modules,
                made_for: report.made_for,
                base: family,
            });
            wrong.count += 1;
            continue;
        }
        let Form::LowRank(low_rank) = form;
        report.count(low_rank.rank(), low_rank.alpha());
        let scale = finite_scale(lora, name, form)?;
        if scale != 0.0 {
            let touched = merged[target.base].touched.entry(target.name.clone());
            let touched =
                touched.or_insert_with(|| Touched { shape: target.shape.clone(), layers: Vec::new() });
            touched.layers.push(Layer { file: file.clone(), form: form.clone(), scale });
        }
    }
    let foreign = file.foreign.iter().map(|(module, form)| (module.clone(), Reason::Form(form)));
    report.unmatched.extend(foreign.map(|(module, reason)| Unmatched { module, reason }));
    report.unmatched.sort_by(|a, b| a.module.cmp(&b.module));
    match wrong_shape {
        Some(wrong) => Err(Error::Shape(Box::new(wrong))),
        None => Ok(report),
    }
}

fn why_unmatched(module: &str, targets: &Targets, report: &LoraReport) -> Reason {
    /// Comparing every name of a wrong file with every name of the base would take seconds.
    const COMPARED: usize = 8;
    /// What LoRA files of any kind begin their modules with.
    const PREFIXES: [&str; 4] = ["lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"];
    let elsewhere =
        PREFIXES.iter().find(|prefix| module.starts_with(**prefix) && !targets.has_prefix(module));
    match elsewhere {
        Some(prefix) => Reason::NoNetwork((*prefix).to_owned()),
        None if report.unmatched.len() < COMPARED => Reason::NoWeight { near: targets.near(module) },
        None => Reason::NoWeight { near: Vec::new() },
    }
}

/// `weight · alpha / rank`, in f64 until it is known to be finite in f32.
fn finite_scale(lora: &Lora, module: &str, form: &Form) -> Result<f32, Error> {
    let scale = (f64::from(lora.weight) * form.scale()) as f32;
    if scale.is_finite() {
        return Ok(scale);
    }
    Err(Error::Source(CoreError::Argument {
        argument: "weight",
        expected: format!("weight · alpha / rank to be finite in f32 for {module} of {}", lora.file.origin()),
        found: format!("{} · {}", lora.weight, form.scale()),
    }))
}

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
struct Layer {
    file: Arc<LoraFile>,
    form: Form,
    scale: f32,
}

impl Merged {
    fn new(base: SharedSource) -> Self {
        Self { base, touched: BTreeMap::new() }
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

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, CoreError> {
        let base = self.base.tensor(name)?;
        let Some(Touched { shape, layers }) = self.touched.get(name) else { return Ok(base) };
        let wrong = |expected: String, found: String| {
            let files: Vec<_> = layers.iter().map(|layer| layer.file.origin()).collect();
            CoreError::Format { origin: format!("{name} with {}", files.join(", ")), expected, found }
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
        if let Some(at) = w.par_iter().position_first(|w| !w.is_finite()) {
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
