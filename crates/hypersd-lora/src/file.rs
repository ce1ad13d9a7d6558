//! A LoRA file as a list of modules, each known by name, form and shape, none read yet.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use hypersd_core::{SafetensorsFile, SharedSource, TensorSource};

use crate::{
    error::Error,
    form::{Form, LowRank, Parts},
    grammar::{self, FOREIGN, Key, NO_FORM},
};

/// A LoRA file, opened and checked: every module complete and consistent with itself, every alpha read.
/// The factors are read when a merged weight is.
pub struct LoraFile {
    pub(crate) source: SharedSource,
    modules: Vec<Module>,
    pub(crate) foreign: Vec<(String, &'static str)>,
}

/// What a file has to say about one weight.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Module {
    /// The name in the file, such as `lora_unet_mid_block_attentions_0_proj_in`.
    pub name: String,
    /// What it does to the weight.
    pub form: Form,
}

impl LoraFile {
    /// Opens a safetensors file.
    ///
    /// # Errors
    /// What opening a safetensors file meets, and everything [`from_source`](Self::from_source) checks.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_source(Arc::new(SafetensorsFile::open(path.as_ref())?))
    }

    /// Takes the tensors of a LoRA from any source.
    ///
    /// Modules of forms that are not supported are kept by name: [`merge`](crate::merge) refuses or, leniently,
    /// skips them.
    ///
    /// # Errors
    /// [`Error::Module`] for a module without its up or down factor, of rank 0, of two ranks, with an alpha that
    /// is no finite scalar; [`hypersd_core::Error::Format`] for a source that has no LoRA module at all.
    pub fn from_source(source: SharedSource) -> Result<Self, Error> {
        let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
        let mut foreign: BTreeMap<String, usize> = BTreeMap::new();
        let names = source.names();
        for key in &names {
            match grammar::parse(key) {
                Key::Part(module, part) => parts.entry(module.to_owned()).or_default().insert(part, key),
                Key::Foreign(module, form) => {
                    let known = foreign.entry(module.to_owned()).or_insert(form);
                    *known = form.min(*known);
                }
            }
        }
        if parts.is_empty() && foreign.values().all(|&form| form == NO_FORM) {
            let example = names.iter().min().map_or(String::new(), |name| format!(", such as {name:?}"));
            return Err(Error::Source(hypersd_core::Error::Format {
                origin: source.origin(),
                expected: "LoRA modules (*.lora_down.weight, *.lora_up.weight)".into(),
                found: format!("{} tensors and none of a LoRA{example}", names.len()),
            }));
        }
        // Half of a module would be a wrong module: one key of another form takes all of it out.
        parts.retain(|module, _| !foreign.contains_key(module));
        let modules = parts
            .into_iter()
            .map(|(name, parts)| {
                let form = Form::LowRank(LowRank::new(&*source, &name, &parts)?);
                Ok(Module { name, form })
            })
            .collect::<Result<_, Error>>()?;
        let foreign = foreign.into_iter().map(|(module, form)| (module, FOREIGN[form])).collect();
        Ok(Self { source, modules, foreign })
    }

    /// What to call the file in a message.
    #[must_use]
    pub fn origin(&self) -> String {
        self.source.origin()
    }

    /// The modules in a supported form, sorted by name.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }
}

impl std::fmt::Debug for LoraFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoraFile({}, {} modules)", self.origin(), self.modules.len() + self.foreign.len())
    }
}
