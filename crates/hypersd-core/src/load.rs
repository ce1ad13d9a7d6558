//! Strict loading of a source into a Burn module.
//!
//! The module says what it wants ([`survey`]), the source what it has; only if both agree is anything read
//! ([`fill`]). A Burn parameter that nobody fills becomes random at its first use, so nothing may be left out.

use std::collections::BTreeSet;

use burn::{
    module::Module,
    tensor::{Device, FloatDType},
};

use crate::{error::Error, names::matches, source::TensorSource};

mod fill;
mod layout;
mod survey;

use survey::Slot;

pub use layout::PANEL;

/// Where loaded weights go, in which form, and what may be left over.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device that the parameters are made on.
    pub device: Device,
    /// What the parameters are stored in: `F32`, `F16` or `BF16`, whatever the source holds.
    pub dtype: FloatDType,
    /// The order of the weights in their parameters: that of Burn unless the module wants another.
    pub order: WeightOrder,
    /// Tensors that need no parameter, as patterns in which `*` stands for any characters.
    ///
    /// Every entry of such a list should have its reason written beside it.
    pub ignore: &'static [&'static str],
}

/// How the weights of dense layers and of convolutions lie in their parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightOrder {
    /// As Burn's layers compute with them.
    #[default]
    Burn,
    /// Those of dense layers and of 3x3 convolutions in panels of [`PANEL`] outputs, where that divides their number:
    /// for each panel, a row of 16 weights per input, and per row and column of a kernel. Only for modules that compute
    /// with something else than Burn's layers, which can tell by the shape: the parameter of a dense layer is
    /// `[out / 16 * in, 16]`, that of a convolution `[out / 16, in, 9, 16]`. What was loaded so is filled again by
    /// [`reload`] only.
    Panels,
}

/// Fills every parameter of `module` from `source`, or fails and says everything that does not fit.
///
/// Parameters are found by their paths in the module, with Burn's spelling turned into PyTorch's: `gamma` and
/// `beta` of `GroupNorm` and `LayerNorm` are `weight` and `bias` in a file, the variants of an enum do not count,
/// and the weight of a `Linear` is `[out, in]` in a file and `[in, out]` in Burn (in its default row layout). A
/// 1x1 convolution `[out, in, 1, 1]` and a matrix `[out, in]` fill each other.
///
/// Converting and transposing happen in parallel and a bounded way ahead, so that memory peaks near the size of the
/// module. Integer and boolean parameters must have been given their values when the module was made.
///
/// # Errors
/// [`Error::Mismatch`] with every parameter without a tensor, every tensor without a parameter, and every shape and
/// type that differs; [`Error::Argument`] for a dtype that the device does not have; what reading meets.
pub fn load<M: Module>(module: M, source: &dyn TensorSource, options: &LoadOptions) -> Result<M, Error> {
    let slots = survey::survey(&module, options.order);
    agree(&slots, source, &offered(source, options))?;
    fill::fill(module, source, slots, options)
}

/// What [`load`] would say of a source before it reads anything: names, shapes and types, but no values.
///
/// # Errors
/// As for [`load`], but for what reading meets.
pub fn check<M: Module>(module: &M, source: &dyn TensorSource, options: &LoadOptions) -> Result<(), Error> {
    fill::check_dtype(options)?;
    agree(&survey::survey(module, options.order), source, &offered(source, options))
}

/// Fills only the parameters called `names` (as the source calls them) again, and leaves the others as they are.
///
/// This is how the weights that a LoRA touches are exchanged: read again from another source, they are exactly
/// what loading everything from that source would have given. `blank` is the module before it was loaded, whose
/// parameters have the shapes of their layers in any [`WeightOrder`].
///
/// # Errors
/// As for [`load`], about the named tensors only; a name without a parameter counts as unused.
pub fn reload<M: Module>(
    module: M,
    blank: &M,
    source: &dyn TensorSource,
    names: impl IntoIterator<Item: AsRef<str>>,
    options: &LoadOptions,
) -> Result<M, Error> {
    let names: BTreeSet<String> = names.into_iter().map(|name| name.as_ref().to_string()).collect();
    let mut slots = survey::survey(blank, options.order);
    slots.retain(|slot| names.contains(&slot.name));
    agree(&slots, source, &names)?;
    fill::fill(module, source, slots, options)
}

/// The tensors of a source that need a parameter.
fn offered(source: &dyn TensorSource, options: &LoadOptions) -> BTreeSet<String> {
    let ignored = |name: &String| options.ignore.iter().any(|pattern| matches(pattern, name));
    source.names().into_iter().filter(|name| !ignored(name)).collect()
}

/// Compares what is wanted with what is offered.
fn agree(slots: &[Slot], source: &dyn TensorSource, offered: &BTreeSet<String>) -> Result<(), Error> {
    let mismatch = survey::compare(slots, source, offered);
    if mismatch.is_empty() { Ok(()) } else { Err(Box::new(mismatch).into()) }
}

#[cfg(test)]
mod tests;
