//! Files against a base: every module finds its weight, or the report says why not.

use std::{collections::HashMap, sync::Arc};

use hypersd_core::{Error as CoreError, Family};

use crate::{
    error::{Error, WrongShape},
    file::{LoraFile, Module},
    form::Form,
    merged::{Layer, Merged},
    networks,
    report::{LoraReport, Reason, Unmatched},
    targets::{Base, Target, Targets},
    weights::Weights,
};

/// A LoRA file and how much of it: one number for all networks, or [`Weights`].
#[derive(Debug, Clone)]
pub struct Lora<W = f32> {
    /// The file.
    pub file: Arc<LoraFile>,
    /// 1 is what it was trained for; 0 leaves the base as it is, bit for bit; negative takes away.
    pub weight: W,
}

/// The answer to a module that fits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strictness {
    /// An error: nearly always the file is for another model.
    #[default]
    Strict,
    /// A line in the report, as long as some other module of the file fits. A module that finds its weight
    /// with another shape is an error all the same: such a file is for another model.
    Lenient,
}

/// The outcome of [`merge`]: sources to load from, and what became of each file.
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
/// one that was not applied at all; [`Error::Shape`] for one made for a model of other widths; [`Error::Module`]
/// for one with two modules for one weight; [`hypersd_core::Error::Argument`] for a weight that is not finite.
pub fn merge<W: Copy + Into<Weights>>(
    bases: &[Base],
    loras: &[Lora<W>],
    strictness: Strictness,
) -> Result<Merge, Error> {
    let targets = Targets::new(bases)?;
    let family = bases.iter().find_map(|base| base.family);
    let mut merged: Vec<_> = bases.iter().map(|base| Merged::new(base.source.clone())).collect();
    let mut reports = Vec::with_capacity(loras.len());
    for Lora { file, weight } in loras {
        let weights = (*weight).into();
        if !weights.are_finite() {
            return Err(Error::Source(CoreError::Argument {
                argument: "weight",
                expected: format!("a finite number for {}", file.origin()),
                found: weights.to_string(),
            }));
        }
        let lora = Lora { file: file.clone(), weight: weights };
        let report = Layering { lora: &lora, bases, targets: &targets, family }.over(&mut merged)?;
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

/// One file on its way into the networks.
struct Layering<'a> {
    lora: &'a Lora<Weights>,
    bases: &'a [Base],
    targets: &'a Targets,
    family: Option<Family>,
}

/// A form, the tensor of the base that it changes, and that tensor's shape.
type Change<'a> = (&'a Form, String, Vec<usize>);

/// Why a module that has its place in the base cannot go there.
enum Misfit<'a> {
    /// The base's tensor, its shape, and the form that has another.
    Shape(String, Vec<usize>, &'a Form),
    /// There is no such tensor.
    Absent(Reason),
}

impl Layering<'_> {
    /// Resolves every module and adds what fits to the layers of the networks.
    fn over(&self, merged: &mut [Merged]) -> Result<LoraReport, Error> {
        let file = &self.lora.file;
        let mut report = LoraReport::new(file, self.family);
        let mut wrong_shape: Option<WrongShape> = None;
        let mut taken: HashMap<(&Target, bool), &str> = HashMap::new();
        for module in file.modules() {
            let Some(target) = self.targets.get(&module.name) else {
                let reason = self.why_unmatched(&module.name, &report);
                report.unmatched.push(Unmatched { module: module.name.clone(), reason });
                continue;
            };
            // One for its weight and one for its bias may have names of their own.
            let of = [module.weight.as_ref().map(|_| true), module.bias.as_ref().map(|_| false)];
            let other = |weight: bool| taken.insert((target, weight), &module.name);
            if let Some(other) = of.into_iter().flatten().filter_map(other).next() {
                return Err(Error::Module {
                    file: report.file,
                    module: module.name.clone(),
                    expected: format!("one module for {}", target.path),
                    found: format!("{other} for it too"),
                });
            }
            match self.fitting(module, target) {
                Ok(changes) => {
                    let (prefix, base) = (self.bases[target.base].prefix, &mut merged[target.base]);
                    let weight = networks::weight(&self.lora.weight, prefix);
                    report.count(prefix, weight, changes.first().map(|(form, ..)| *form));
                    self.add(&module.name, changes, weight, base)?;
                }
                Err(Misfit::Absent(reason)) => {
                    report.unmatched.push(Unmatched { module: module.name.clone(), reason });
                }
                Err(Misfit::Shape(target, expected, form)) => {
                    let wrong = wrong_shape.get_or_insert_with(|| WrongShape {
                        file: report.file.clone(),
                        module: module.name.clone(),
                        target,
                        expected,
                        lora: form.shape(),
                        count: 0,
                        of: report.modules,
                        made_for: report.made_for,
                        base: self.family,
                    });
                    wrong.count += 1;
                }
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

    /// Adds the changes of a module to its network.
    fn add(
        &self,
        module: &str,
        changes: Vec<Change<'_>>,
        weight: f32,
        base: &mut Merged,
    ) -> Result<(), Error> {
        changes.iter().try_for_each(|(form, ..)| self.check_scale(module, form, weight))?;
        if weight != 0.0 {
            for (form, name, shape) in changes {
                let layer = Layer { file: self.lora.file.clone(), form: form.clone(), weight };
                base.add(name, shape, layer);
            }
        }
        Ok(())
    }

    /// Each form of a module with the tensor of the base that it changes: all of them, or none.
    fn fitting<'m>(&self, module: &'m Module, target: &Target) -> Result<Vec<Change<'m>>, Misfit<'m>> {
        let forms = [(&module.weight, "weight"), (&module.bias, "bias")];
        let forms = forms.into_iter().filter_map(|(form, of)| Some((form.as_ref()?, of)));
        forms
            .map(|(form, of)| {
                let name = format!("{}.{of}", target.path);
                match self.bases[target.base].source.info(&name).map(|info| info.shape) {
                    None => Err(Misfit::Absent(Reason::NoParameter(name))),
                    Some(shape) if form.fits(&shape) => Ok((form, name, shape)),
                    Some(shape) => Err(Misfit::Shape(name, shape, form)),
                }
            })
            .collect()
    }

    fn why_unmatched(&self, module: &str, report: &LoraReport) -> Reason {
        /// Comparing every name of a wrong file with every name of the base would take seconds.
        const COMPARED: usize = 8;
        match self.targets.absent_network(module) {
            Some(prefix) => Reason::NoNetwork(prefix.to_owned()),
            None if report.unmatched.len() < COMPARED => Reason::NoWeight { near: self.targets.near(module) },
            None => Reason::NoWeight { near: Vec::new() },
        }
    }

    /// `weight · alpha / rank` is what the factors are multiplied by, in f32.
    fn check_scale(&self, module: &str, form: &Form, weight: f32) -> Result<(), Error> {
        if ((f64::from(weight) * form.scale()) as f32).is_finite() {
            return Ok(());
        }
        let file = self.lora.file.origin();
        Err(Error::Source(CoreError::Argument {
            argument: "weight",
            expected: format!("weight · alpha / rank to be finite in f32 for {module} of {file}"),
            found: format!("{weight} · {}", form.scale()),
        }))
    }
}
