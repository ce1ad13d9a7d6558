//! Files against a base: every module finds its weight, or the report says why not.

use std::sync::Arc;

use hypersd_core::Error as CoreError;

use crate::{
    error::{Error, WrongShape},
    family::Family,
    file::{LoraFile, Module},
    form::Form,
    merged::{Layer, Merged},
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
    let mut report = LoraReport::new(lora, family);
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
            merged[target.base].add(target, Layer { file: file.clone(), form: form.clone(), scale });
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
