//! From the module names of LoRA files to the modules of the base.
//!
//! kohya wrote a module path with `_` for `.`, and paths have underscores of their own (`to_out.0`, `proj_in`,
//! `time_emb_proj`), so the way back is a look-up among the names that exist, never a replacement. Names with dots
//! take the same way, so that there is one table for all.

use std::collections::{BTreeSet, HashMap};

use hypersd_core::{Error, Family, SharedSource};

use crate::{ldm, networks};

/// One network of the base model, as far as a LoRA needs to know it: a name, a family and its weights.
#[derive(Clone)]
pub struct Base {
    /// The beginning of its modules' names in kohya's files: `lora_unet_` for the UNet, `lora_te_` for the only text
    /// encoder, `lora_te1_` and `lora_te2_` for SDXL's two.
    pub prefix: &'static str,
    /// The family of the model it is part of, for messages and never for arithmetic; `None` where it is not known.
    pub family: Option<Family>,
    /// Its untouched weights under their canonical (diffusers, transformers) names.
    pub source: SharedSource,
}

/// A module of the base.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Index of the network it belongs to.
    pub(crate) base: usize,
    /// Canonical path, without `.weight` or `.bias`.
    pub(crate) path: String,
}

/// Every module that has parameters, under each name that a LoRA file may have for it.
#[derive(Debug)]
pub(crate) struct Targets {
    table: HashMap<String, Target>,
    prefixes: Vec<&'static str>,
}

impl Targets {
    pub(crate) fn new(bases: &[Base]) -> Result<Self, Error> {
        let mut targets =
            Self { table: HashMap::new(), prefixes: bases.iter().map(|base| base.prefix).collect() };
        for (base, Base { prefix, source, .. }) in bases.iter().enumerate() {
            let names = source.names();
            let parameter =
                |name| str::strip_suffix(name, ".weight").or_else(|| str::strip_suffix(name, ".bias"));
            let paths: BTreeSet<&str> = names.iter().filter_map(|name| parameter(name)).collect();
            let own = paths.iter().map(|path| ((*path).to_owned(), (*path).to_owned()));
            let others = ldm::paths(&paths).into_iter().chain(text_paths(&paths));
            for (path, other) in own.chain(others) {
                targets.insert(format!("{prefix}{}", flat(&other)), Target { base, path }, source)?;
            }
        }
        Ok(targets)
    }

    fn insert(&mut self, module: String, target: Target, source: &SharedSource) -> Result<(), Error> {
        match self.table.get(&module) {
            Some(other) if *other != target => Err(Error::Format {
                origin: source.origin(),
                expected: "names that stay apart when written as LoRA modules".into(),
                found: format!("{} and {}, both {module}", other.path, target.path),
            }),
            _ => {
                self.table.insert(module, target);
                Ok(())
            }
        }
    }

    /// Finds the module of the base that a module of a file, in any spelling, is for.
    pub(crate) fn get(&self, module: &str) -> Option<&Target> {
        spellings(module).iter().find_map(|name| self.table.get(name))
    }

    /// The beginning of the name, if it is for a network that was not given.
    pub(crate) fn absent_network(&self, module: &str) -> Option<&'static str> {
        let (start, networks) = networks::of_module(without_wrapper(module))?;
        (!networks.iter().any(|network| self.prefixes.contains(network))).then_some(start)
    }

    /// The module names most like a name that is not in the table, best first.
    pub(crate) fn near(&self, module: &str) -> Vec<String> {
        /// As many as a reader looks at.
        const SHOWN: usize = 2;
        /// Below this, names have little more than their prefix in common.
        const ALIKE: f64 = 0.7;
        let Some(module) = spellings(module).into_iter().next() else { return Vec::new() };
        let likeness = |name: &String| strsim::normalized_levenshtein(&module, name);
        let mut near: Vec<_> = self.table.keys().map(|name| (likeness(name), name)).collect();
        near.retain(|(likeness, _)| *likeness >= ALIKE);
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        near.into_iter().take(SHOWN).map(|(_, name)| name.clone()).collect()
    }
}

/// The names under which the table may have a module. One that says nothing of a network is the UNet's.
fn spellings(module: &str) -> Vec<String> {
    let module = without_wrapper(module);
    let (start, networks) = networks::of_module(module).unwrap_or(("", vec![networks::UNET_PREFIX]));
    let path = flat(without_wrapper(&module[start.len()..]));
    networks.iter().map(|network| format!("{network}{path}")).collect()
}

/// One name for all spellings of a module that differ in the network's prefix, in dots, and in what is around the module.
pub(crate) fn canonical(module: &str) -> String {
    // diffusers' converter names the processor of an attention, whose magnitudes are of the layer.
    spellings(&module.replace(".processor.", ".")).join(" ")
}

/// PEFT's model around the model, before or after the network's name.
fn without_wrapper(module: &str) -> &str {
    module.strip_prefix("base_model.model.").unwrap_or(module)
}

fn flat(path: &str) -> String {
    path.replace('.', "_")
}

/// Text encoders are stored with and without `text_model.` in front of everything but the projection; their LoRA
/// files, likewise.
fn text_paths<'a>(paths: &'a BTreeSet<&str>) -> impl Iterator<Item = (String, String)> + 'a {
    paths.iter().filter_map(|path| {
        let other = match path.strip_prefix("text_model.") {
            Some(bare) => bare.to_owned(),
            None if ["embeddings.", "encoder.", "final_layer_norm"]
                .iter()
                .any(|part| path.starts_with(part)) =>
            {
                format!("text_model.{path}")
            }
            None => return None,
        };
        Some(((*path).to_owned(), other))
    })
}
