//! A LoRA file as a list of modules, each known by name, form and shape, none read yet.

use std::{collections::BTreeMap, sync::Arc};

use hypersd_core::{Component, Error as CoreError, Location, SafetensorsFile, SharedSource, TensorSource};

use crate::{
    adapter::Adapters,
    error::Error,
    form::{Delta, Form, Full, Parts},
    grammar::{self, FOREIGN, Key, NO_FORM, Piece},
};

/// A LoRA file, opened and checked: every module complete and consistent with itself, every alpha read.
/// The factors are read when a merged weight is.
pub struct LoraFile {
    pub(crate) source: SharedSource,
    modules: Vec<Module>,
    pub(crate) foreign: Vec<(String, &'static str)>,
}

/// The changes that a file has for one module of a model: for its weight, its bias, or both.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Module {
    /// The name in the file, such as `lora_unet_mid_block_attentions_0_proj_in`.
    pub name: String,
    /// The change of the weight.
    pub weight: Option<Form>,
    /// The change of the bias.
    pub bias: Option<Form>,
}

impl LoraFile {
    /// Opens a safetensors file, with the metadata in it. PEFT's `adapter_model.safetensors` has its configuration
    /// beside it instead, in `adapter_config.json`.
    ///
    /// # Errors
    /// What opening a safetensors file meets, and everything [`with_metadata`](Self::with_metadata) checks.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let file = SafetensorsFile::open(&location)?;
        let adapters = match peft_config(&location)? {
            Some(text) => Adapters::of_peft(&format!("adapter_config.json of {}", file.origin()), &text)?,
            None => Adapters::of_metadata(&file.origin(), file.metadata())?,
        };
        Self::new(Arc::new(file), &adapters)
    }

    /// Takes the tensors of a LoRA from any source. A LoRA that keeps its alphas in metadata (PEFT's does) needs
    /// [`with_metadata`](Self::with_metadata): without them, alpha is the rank.
    ///
    /// Modules of forms that are not supported are kept by name: [`merge`](crate::merge) refuses or, leniently,
    /// skips them.
    ///
    /// # Errors
    /// [`Error::Module`] for a module that lacks a piece or has two of one kind, whose shapes contradict each
    /// other, of rank 0, with an alpha that is no finite scalar; [`hypersd_core::Error::Format`] for a source that
    /// has no LoRA module at all.
    pub fn from_source(source: SharedSource) -> Result<Self, Error> {
        Self::new(source, &Adapters::default())
    }

    /// [`from_source`](Self::from_source) with the metadata of the file, of which `lora_adapter_metadata` counts:
    /// the ranks, alphas and their patterns, rsLoRA and DoRA of each component, as diffusers writes them.
    ///
    /// # Errors
    /// Those of [`from_source`](Self::from_source), and [`hypersd_core::Error::Format`] for metadata that is not
    /// such JSON, or whose patterns are regular expressions rather than names.
    pub fn with_metadata(source: SharedSource, metadata: &BTreeMap<String, String>) -> Result<Self, Error> {
        let adapters = Adapters::of_metadata(&source.origin(), metadata)?;
        Self::new(source, &adapters)
    }

    fn new(source: SharedSource, adapters: &Adapters) -> Result<Self, Error> {
        let mut modules: BTreeMap<String, BTreeMap<Piece, String>> = BTreeMap::new();
        let mut foreign: BTreeMap<String, usize> = BTreeMap::new();
        let mut names = source.names();
        names.sort_unstable();
        for key in &names {
            match grammar::parse(key) {
                Key::Piece(module, piece) => {
                    let other =
                        modules.entry(module.clone().into_owned()).or_default().insert(piece, key.clone());
                    if let Some(other) = other {
                        return Err(Error::Module {
                            file: source.origin(),
                            module: module.into_owned(),
                            expected: format!("one {}", piece.name()),
                            found: format!("{other} and {key}"),
                        });
                    }
                }
                Key::Foreign(module, form) => {
                    let known = foreign.entry(module.to_owned()).or_insert(form);
                    *known = form.min(*known);
                }
            }
        }
        if modules.is_empty() && foreign.values().all(|&form| form == NO_FORM) {
            let example = names.first().map_or(String::new(), |name| format!(", such as {name:?}"));
            return Err(Error::Source(CoreError::Format {
                origin: source.origin(),
                expected: "LoRA modules (*.lora_down.weight, *.lora_A.weight, …)".into(),
                found: format!("{} tensors and none of a LoRA{example}", names.len()),
            }));
        }
        // Half of a module would be a wrong module: one key of another form takes all of it out.
        modules.retain(|module, _| !foreign.contains_key(module));
        let modules = modules
            .iter()
            .map(|(name, keys)| {
                let adapter = adapters.of(name);
                Module::new(&Parts { source: &*source, module: name, keys, adapter })
            })
            .collect::<Result<_, Error>>()?;
        let foreign = foreign.into_iter().map(|(module, form)| (module, FOREIGN[form])).collect();
        Ok(Self { source, modules, foreign })
    }

    /// The name of the file in messages.
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

impl Module {
    fn new(parts: &Parts<'_>) -> Result<Self, Error> {
        let weight = Form::new(parts)?;
        let bias = Full::bias(parts, weight.as_ref().map(Form::scaling))?;
        let bias = bias.map(|full| Form::Delta(Delta::Full(full)));
        Ok(Self { name: parts.module.to_owned(), weight, bias })
    }
}

impl std::fmt::Debug for LoraFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoraFile({}, {} modules)", self.origin(), self.modules.len() + self.foreign.len())
    }
}

/// The text of the configuration that PEFT keeps beside a file.
fn peft_config(file: &Location) -> Result<Option<String>, Error> {
    match file.parent().filter(|_| file.file_name().is_some_and(|name| name == "adapter_model.safetensors")) {
        Some(folder) => Ok(Component::open(folder)?.text("adapter_config.json")?),
        None => Ok(None),
    }
}
