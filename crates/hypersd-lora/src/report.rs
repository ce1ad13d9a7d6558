//! What became of each module of a file.

use std::{collections::BTreeMap, fmt};

use crate::{family::Family, merge::Lora};

/// The account of one LoRA file: every module in it is either applied or listed with the reason why not.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoraReport {
    /// The file.
    pub file: String,
    /// The weight it was given.
    pub weight: f32,
    /// How many modules the file has.
    pub modules: usize,
    /// How many of them were applied.
    pub applied: usize,
    /// Rank → number of modules applied with it.
    pub ranks: BTreeMap<usize, usize>,
    /// Alpha → number of modules applied with it, ascending; `None` where the file has none and the rank stands in.
    pub alphas: Vec<(Option<f32>, usize)>,
    /// The modules that were not applied, sorted by name.
    pub unmatched: Vec<Unmatched>,
    /// The family the file looks made for.
    pub made_for: Family,
    /// The family of the base.
    pub base: Family,
}

/// A module that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unmatched {
    /// Its name in the file.
    pub module: String,
    /// Why.
    pub reason: Reason,
}

/// Why a module was not applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// It is in this form or naming, which is not supported.
    Form(&'static str),
    /// It begins with this prefix, and no network with that prefix was given: a text encoder's modules, say,
    /// where only a UNet is loaded.
    NoNetwork(String),
    /// The network has no such weight. The nearest names are found for the first few such modules only.
    NoWeight {
        /// Module names that it does have.
        near: Vec<String>,
    },
}

impl LoraReport {
    /// Nothing applied yet.
    pub(crate) fn new(lora: &Lora, base: Family) -> Self {
        Self {
            file: lora.file.origin(),
            weight: lora.weight,
            modules: lora.file.modules().len() + lora.file.foreign.len(),
            applied: 0,
            ranks: BTreeMap::new(),
            alphas: Vec::new(),
            unmatched: Vec::new(),
            made_for: Family::of(&*lora.file.source),
            base,
        }
    }

    pub(crate) fn count(&mut self, rank: usize, alpha: Option<f32>) {
        self.applied += 1;
        *self.ranks.entry(rank).or_default() += 1;
        let total = |alpha: Option<f32>| alpha.unwrap_or(f32::NEG_INFINITY);
        match self.alphas.binary_search_by(|(known, _)| total(*known).total_cmp(&total(alpha))) {
            Ok(at) => self.alphas[at].1 += 1,
            Err(at) => self.alphas.insert(at, (alpha, 1)),
        }
    }

    /// The line of [`Display`](fmt::Display) and, grouped by reason, what was not applied.
    #[must_use]
    pub fn details(&self) -> String {
        /// Modules shown per group: a wrong file has hundreds.
        const SHOWN: usize = 4;
        let mut text = self.to_string();
        if self.applied == 0 || (self.made_for != self.base && self.made_for != Family::Unknown) {
            text += &format!("; {}", Family::versus(self.made_for, self.base));
        }
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Unmatched { module, reason } in &self.unmatched {
            let (group, line) = match reason {
                Reason::Form(form) => (format!("not supported: {form}"), module.clone()),
                Reason::NoNetwork(prefix) => {
                    (format!("for a network that is not there ({prefix}*)"), module.clone())
                }
                Reason::NoWeight { near } if near.is_empty() => {
                    ("without a weight in the base".into(), module.clone())
                }
                Reason::NoWeight { near } => (
                    "without a weight in the base".into(),
                    format!("{module} (nearest: {})", near.join(", ")),
                ),
            };
            groups.entry(group).or_default().push(line);
        }
        for (group, lines) in groups {
            text += &format!("\n  {} {group}:", lines.len());
            for line in lines.iter().take(SHOWN) {
                text += &format!("\n    {line}");
            }
            if lines.len() > SHOWN {
                text += &format!("\n    … and {} more", lines.len() - SHOWN);
            }
        }
        text
    }
}

/// One line: `Hyper-SD15-1step-lora.safetensors x 1: 278 of 278 applied, rank 64, alpha 64`.
impl fmt::Display for LoraReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, weight, applied, modules, .. } = self;
        write!(f, "{file} x {weight}: {applied} of {modules} modules applied")?;
        if *applied > 0 {
            let ranks: Vec<_> = self.ranks.keys().map(usize::to_string).collect();
            let alphas =
                self.alphas.iter().map(|(alpha, _)| alpha.map_or("= rank".into(), |alpha| alpha.to_string()));
            write!(f, ", rank {}, alpha {}", ranks.join("/"), alphas.collect::<Vec<_>>().join("/"))?;
        }
        Ok(())
    }
}
