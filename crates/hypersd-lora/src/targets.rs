//! From the module names of LoRA files to the weights of the base.
//!
//! kohya wrote a module path with `_` for `.`, and paths have underscores of their own (`to_out.0`, `proj_in`,
//! `time_emb_proj`), so the way back is a look-up among the names that exist, never a replacement.

use std::collections::HashMap;

use hypersd_core::{Error, SharedSource};

/// One network of the base model, as far as a LoRA needs to know it: a name and its weights.
#[derive(Clone)]
pub struct Base {
    /// What its modules begin with in a LoRA file: `lora_unet_` for the UNet, `lora_te_` for the only text
    /// encoder, `lora_te1_` and `lora_te2_` for SDXL's two.
    pub prefix: &'static str,
    /// Its untouched weights under their canonical (diffusers, transformers) names.
    pub source: SharedSource,
}

/// A weight of the base.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    /// Index of the network it belongs to.
    pub(crate) base: usize,
    /// Canonical name, with `.weight`.
    pub(crate) name: String,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
}

/// Every weight of rank 2 or 4 (linear, embedding, convolution) by its module name in a LoRA file.
#[derive(Debug)]
pub(crate) struct Targets {
    table: HashMap<String, Target>,
    prefixes: Vec<&'static str>,
}

impl Targets {
    pub(crate) fn new(bases: &[Base]) -> Result<Self, Error> {
        let mut table: HashMap<String, Target> = HashMap::new();
        for (base, Base { prefix, source }) in bases.iter().enumerate() {
            for name in source.names() {
                let Some(path) = name.strip_suffix(".weight") else { continue };
                let Some(shape) = source.info(&name).map(|info| info.shape) else { continue };
                if !matches!(shape.len(), 2 | 4) {
                    continue;
                }
                let module = format!("{prefix}{}", path.replace('.', "_"));
                let target = Target { base, name, shape };
                if let Some(other) = table.get(&module) {
                    return Err(Error::Format {
                        origin: source.origin(),
                        expected: "names that stay apart when written as LoRA modules".into(),
                        found: format!("{} and {}, both {module}", other.name, target.name),
                    });
                }
                table.insert(module, target);
            }
        }
        Ok(Self { table, prefixes: bases.iter().map(|base| base.prefix).collect() })
    }

    pub(crate) fn get(&self, module: &str) -> Option<&Target> {
        self.table.get(module)
    }

    /// Whether a network was given that the module could be of.
    pub(crate) fn has_prefix(&self, module: &str) -> bool {
        self.prefixes.iter().any(|prefix| module.starts_with(prefix))
    }

    /// The module names most like a name that is not in the table, best first.
    pub(crate) fn near(&self, module: &str) -> Vec<String> {
        /// As many as a reader looks at.
        const SHOWN: usize = 2;
        /// Below this, names have little more than their prefix in common.
        const ALIKE: f64 = 0.7;
        let likeness = |name: &String| strsim::normalized_levenshtein(module, name);
        let mut near: Vec<_> = self.table.keys().map(|name| (likeness(name), name)).collect();
        near.retain(|(likeness, _)| *likeness >= ALIKE);
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        near.into_iter().take(SHOWN).map(|(_, name)| name.clone()).collect()
    }
}
