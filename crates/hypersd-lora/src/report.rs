//! The account of a file as plain data, and how it is put into words. It is filled in `account`.

use std::{collections::BTreeMap, fmt};

use hypersd_core::Family;

use crate::{family::MadeFor, networks};

/// The account of one LoRA file: every module in it is either applied or listed with the reason why not.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoraReport {
    /// The file.
    pub file: String,
    /// The number of modules the file has.
    pub modules: usize,
    /// The number of them that were applied.
    pub applied: usize,
    /// Those that were, by network and form.
    pub groups: Vec<Applied>,
    /// The modules that were not applied, sorted by name.
    pub unmatched: Vec<Unmatched>,
    /// The family the file looks made for.
    pub made_for: MadeFor,
    /// The family of the base, where it is [known](crate::Base::family).
    pub base: Option<Family>,
}

/// The modules of one form that were applied to one network.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// The network's [prefix](crate::Base::prefix).
    pub network: &'static str,
    /// The [name](crate::Form::name) of the form.
    pub form: &'static str,
    /// The weight it was given.
    pub weight: f32,
    /// Their number.
    pub modules: usize,
    /// Rank → number of modules; none for a form without ranks.
    pub ranks: BTreeMap<usize, usize>,
    /// Alpha → number of modules, ascending; `None` where the file has none and the rank stands in.
    pub alphas: Vec<(Option<f32>, usize)>,
    /// The effective scale, `weight · alpha / rank`, → number of modules, ascending.
    pub scales: Vec<(f32, usize)>,
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
    /// It changes this weight or bias of a module that has none.
    NoParameter(String),
    /// The network has no such module. The nearest names are found for the first few such modules only.
    NoWeight {
        /// Module names that it does have.
        near: Vec<String>,
    },
}

impl LoraReport {
    /// The lines of [`Display`](fmt::Display) and, grouped by reason, what was not applied.
    #[must_use]
    pub fn details(&self) -> String {
        /// Modules shown per group: a wrong file has hundreds.
        const SHOWN: usize = 4;
        let mut text = self.to_string();
        if self.applied == 0 || self.is_of_another_family() {
            text += &format!("; {}", self.made_for.versus(self.base));
        }
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Unmatched { module, reason } in &self.unmatched {
            let (group, line) = match reason {
                Reason::Form(form) => (format!("not supported: {form}"), module.clone()),
                Reason::NoNetwork(prefix) => {
                    (format!("for a network that is not there ({prefix}*)"), module.clone())
                }
                Reason::NoParameter(name) => {
                    ("without a weight or bias in the base".into(), format!("{module} ({name})"))
                }
                Reason::NoWeight { near } if near.is_empty() => {
                    ("without a module in the base".into(), module.clone())
                }
                Reason::NoWeight { near } => (
                    "without a module in the base".into(),
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

    /// True where the file looks made for a family other than the base's. A width tells nothing: the base may be small.
    fn is_of_another_family(&self) -> bool {
        match (self.made_for, self.base) {
            (MadeFor::Family(family), Some(base)) => family != base,
            _ => false,
        }
    }
}

/// Two lines:
///
/// ```text
/// style.safetensors: 264 of 264 modules applied
///   unet x 0.8: 192 LoRA, rank 8, alpha 4, scale 0.4; text encoder x 0.5: 72 LoRA, rank 8, alpha 4, scale 0.25
/// ```
impl fmt::Display for LoraReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, applied, modules, groups, .. } = self;
        write!(f, "{file}: {applied} of {modules} modules applied")?;
        let groups: Vec<_> = groups.iter().map(Applied::to_string).collect();
        if groups.is_empty() { Ok(()) } else { write!(f, "\n  {}", groups.join("; ")) }
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, form, weight, modules, .. } = self;
        write!(f, "{} x {weight}: {modules} {form}", networks::words(network))?;
        if !self.ranks.is_empty() {
            write!(f, ", rank {}", some(self.ranks.keys().map(usize::to_string)))?;
            let alpha = |alpha: &Option<f32>| alpha.map_or("= rank".into(), |alpha| alpha.to_string());
            write!(f, ", alpha {}", some(self.alphas.iter().map(|(known, _)| alpha(known))))?;
            write!(f, ", scale {}", some(self.scales.iter().map(|(scale, _)| scale.to_string())))?;
        }
        Ok(())
    }
}

/// The first few values of a list.
fn some(values: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 4;
    let more = if values.len() > SHOWN { "/…" } else { "" };
    values.take(SHOWN).collect::<Vec<_>>().join("/") + more
}
