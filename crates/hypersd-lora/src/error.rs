//! Faults of a LoRA file, and between it and a base.

use hypersd_core::Family;

use crate::{family::MadeFor, report::LoraReport};

/// Why LoRA files cannot be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the file or the base failed, or an argument cannot be right.
    #[error(transparent)]
    Source(#[from] hypersd_core::Error),
    /// A module of the file is incomplete or contradicts itself.
    #[error("{file}: module {module}: expected {expected}, found {found}")]
    Module {
        /// The LoRA file.
        file: String,
        /// The module in it.
        module: String,
        /// The like of it in a right module.
        expected: String,
        /// The same in this one.
        found: String,
    },
    /// Some modules of the file were not applied. [`Strictness::Lenient`](crate::Strictness) allows this.
    #[error("{}", .0.details())]
    Unmatched(Box<LoraReport>),
    /// No module of the file was applied, which no strictness allows.
    #[error("{}", .0.details())]
    NothingMatched(Box<LoraReport>),
    /// A module names a weight of the base and does not have its shape: the file is made for another model.
    #[error(transparent)]
    Shape(Box<WrongShape>),
}

/// The first module of a file that does not have the shape of its weight, and how many more there are.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{file}: module {module} changes a weight of shape {lora:?}, {target} of the base is {expected:?} ({count} of {} \
     modules differ so); {}", of, made_for.versus(*base)
)]
#[non_exhaustive]
pub struct WrongShape {
    /// The LoRA file.
    pub file: String,
    /// The first such module.
    pub module: String,
    /// The weight of the base that it names.
    pub target: String,
    /// Shape of that weight.
    pub expected: Vec<usize>,
    /// Shape of the module's product, the kernel last.
    pub lora: Vec<usize>,
    /// The number of modules that have a shape other than their weight's.
    pub count: usize,
    /// The number of modules the file has.
    pub of: usize,
    /// The family the file looks made for.
    pub made_for: MadeFor,
    /// The family of the base, where it is [known](crate::Base::family).
    pub base: Option<Family>,
}
