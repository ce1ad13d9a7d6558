//! A LoRA file as a list of modules, each known by name, form and shape, none read yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hypersd_core::{
    Component, Error as CoreError, Location, Renamed, SharedSource, TensorSource, View, WeightFile,
};

use crate::{
    adapter::Adapters,
    error::Error,
    form::{Delta, Form, Full, Parts},
    grammar::{self, FOREIGN, Key, NO_FORM, Piece},
    targets,
};

/// A LoRA file, opened and checked: every module complete and consistent with itself, every alpha read.
/// The factors are read when a merged weight is.
pub struct LoraFile {
    pub(crate) source: SharedSource,
    modules: Vec<Module>,
    pub(crate) foreign: Vec<(String, &'static str)>,
    words: BTreeSet<String>,
}

/// What begins the names of tensors that are no part of the LoRA but a word's embeddings, as kohya's scripts put them into a
/// file: `bundle_emb.WORD.string_to_param.*`.
const BUNDLED: &str = "bundle_emb.";

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
    /// Opens a [weight file](WeightFile), with the metadata in it. PEFT's `adapter_model.safetensors` has its configuration
    /// beside it instead, in `adapter_config.json`.
    ///
    /// # Errors
    /// What opening a weight file meets, and everything [`with_metadata`](Self::with_metadata) checks.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        let location = location.into();
        let file = WeightFile::open(&location)?;
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
        // By what modules are for, in the first spelling that the file has for each: it may spell pieces of one differently.
        let mut modules: BTreeMap<String, Spelled> = BTreeMap::new();
        let mut foreign: BTreeMap<String, (&str, usize)> = BTreeMap::new();
        let mut words = BTreeSet::new();
        let mut names = source.names();
        names.sort_unstable();
        for key in &names {
            if let Some((word, _)) = key.strip_prefix(BUNDLED).and_then(|rest| rest.split_once('.')) {
                words.insert(word.to_owned());
                continue;
            }
            match grammar::parse(key) {
                Key::Piece(module, piece) => {
                    let spelled = modules.entry(targets::canonical(&module)).or_insert_with(|| Spelled {
                        name: module.clone().into_owned(),
                        keys: BTreeMap::new(),
                    });
                    if let Some(other) = spelled.keys.insert(piece, key.clone()) {
                        return Err(Error::Module {
                            file: source.origin(),
                            module: module.into_owned(),
                            expected: format!("one {}", piece.name()),
                            found: format!("{other} and {key}"),
                        });
                    }
                }
                Key::Foreign(module, form) => {
                    let known = foreign.entry(targets::canonical(module)).or_insert((module, form));
                    known.1 = form.min(known.1);
                }
            }
        }
        if modules.is_empty() && foreign.values().all(|&(_, form)| form == NO_FORM) {
            let example = names.first().map_or(String::new(), |name| format!(", such as {name:?}"));
            return Err(Error::Source(CoreError::Format {
                origin: source.origin(),
                expected: "LoRA modules (*.lora_down.weight, *.lora_A.weight, …)".into(),
                found: format!("{} tensors and none of a LoRA{example}", names.len()),
            }));
        }
        // Half of a module would be a wrong module: one key of another form takes all of it out.
        modules.retain(|module, _| !foreign.contains_key(module));
        let mut modules = modules
            .values()
            .map(|Spelled { name, keys }| {
                let adapter = adapters.of(name);
                Module::new(&Parts { source: &*source, module: name, keys, adapter })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        let foreign =
            foreign.into_values().map(|(module, form)| (module.to_owned(), FOREIGN[form])).collect();
        Ok(Self { source, modules, foreign, words })
    }

    /// The words that the file has embeddings of beside its modules, sorted. They change no weight.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// The embeddings of one of its [`words`](Self::words), under the names that a file of the word alone would have.
    ///
    /// # Errors
    /// [`hypersd_core::Error::NoSuchTensor`] for a word that the file does not have.
    pub fn word(&self, word: &str) -> Result<SharedSource, Error> {
        let prefix = format!("{BUNDLED}{word}.");
        let names = self.source.names();
        let own =
            names.iter().filter_map(|name| Some((name.strip_prefix(&prefix)?, name.clone(), View::Whole)));
        let own: Vec<_> = own.collect();
        match own.is_empty() {
            false => Ok(Arc::new(Renamed::select(self.source.clone(), own)?)),
            true => Err(Error::Source(CoreError::NoSuchTensor {
                origin: self.origin(),
                name: prefix,
                near: self.words.iter().map(|word| format!("{BUNDLED}{word}")).collect(),
            })),
        }
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

/// The tensors of a module, and what the file calls it.
struct Spelled {
    name: String,
    keys: BTreeMap<Piece, String>,
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
