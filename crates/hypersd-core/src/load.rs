//! Strict loading of a source into a network.
//!
//! The network says what it wants ([`slots`]), the source what it has; only if both agree ([`survey`]) is anything read
//! ([`fill`]). A Burn parameter that nobody fills becomes random at its first use, so nothing may be left out.

use std::collections::BTreeSet;

use burn::tensor::{Device, FloatDType};

use crate::{
    error::{Error, Mismatch},
    names::matches,
    source::TensorSource,
};

mod fill;
mod layout;
mod slots;
mod survey;

use survey::Wanted;

pub use layout::{InOrder, Interleaved, Layout};
pub use slots::{Products, Slot, SlotList, Slots};

/// Settings of loading: where weights go, in which type, and what may be left over.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device that the parameters are made on.
    pub device: Device,
    /// The type that parameters are stored in: `F32`, `F16` or `BF16`, whatever the source holds.
    pub dtype: FloatDType,
    /// Tensors that need no parameter, as patterns in which `*` stands for any characters.
    ///
    /// Every entry of such a list should have its reason written beside it.
    pub ignore: &'static [&'static str],
}

/// Fills every parameter of `network` from `source`, or fails and says everything that does not fit.
///
/// A network shows its parameters ([`Slots`]) under the names that a source knows them by, with the shapes that they have
/// there. Each says in which order it takes a tensor's elements: Burn's `Linear` holds as `[in, out]` what is `[out, in]`
/// in a file. A 1x1 convolution `[out, in, 1, 1]` and a matrix `[out, in]` fill each other.
///
/// Converting and rearranging happen in parallel and a bounded way ahead, so that memory peaks near the size of the
/// network.
///
/// # Errors
/// [`Error::Mismatch`] with every parameter without a tensor, every tensor without a parameter, and every shape and
/// type that differs; [`Error::Argument`] for a dtype that the device does not have; what reading meets.
pub fn load<N: Slots>(mut network: N, source: &dyn TensorSource, options: &LoadOptions) -> Result<N, Error> {
    let wanted = survey::survey(&mut network, &options.device);
    agree(&wanted, source, &offered(source, options))?;
    fill::fill(wanted, source, options)?;
    filled(network, source)
}

/// Checks what [`load`] checks of a source before it reads anything: names, shapes and types, but no values.
///
/// # Errors
/// As for [`load`], but for what reading meets.
pub fn check<N: Slots + Clone>(
    network: &N,
    source: &dyn TensorSource,
    options: &LoadOptions,
) -> Result<(), Error> {
    fill::check_dtype(options)?;
    // Only what is to be filled shows its slots; a clone shares what has been filled.
    agree(&survey::survey(&mut network.clone(), &options.device), source, &offered(source, options))
}

/// Fills only the parameters called `names` (as the source calls them) again, and leaves the others as they are.
///
/// This is how the weights that a LoRA touches are exchanged: read again from another source, they are exactly
/// what loading everything from that source would have given.
///
/// # Errors
/// As for [`load`], about the named tensors only; a name without a parameter counts as unused. [`Error::Mismatch`] too
/// if other parameters have never been filled.
pub fn reload<N: Slots>(
    mut network: N,
    source: &dyn TensorSource,
    names: impl IntoIterator<Item: AsRef<str>>,
    options: &LoadOptions,
) -> Result<N, Error> {
    let names: BTreeSet<String> = names.into_iter().map(|name| name.as_ref().to_string()).collect();
    let mut wanted = survey::survey(&mut network, &options.device);
    wanted.retain(|slot| names.contains(&slot.name));
    agree(&wanted, source, &names)?;
    fill::fill(wanted, source, options)?;
    filled(network, source)
}

/// The tensors of a source that need a parameter.
fn offered(source: &dyn TensorSource, options: &LoadOptions) -> BTreeSet<String> {
    let ignored = |name: &String| options.ignore.iter().any(|pattern| matches(pattern, name));
    source.names().into_iter().filter(|name| !ignored(name)).collect()
}

/// Compares what is wanted with what is offered.
fn agree(wanted: &[Wanted<'_>], source: &dyn TensorSource, offered: &BTreeSet<String>) -> Result<(), Error> {
    let mismatch = survey::compare(wanted, source, offered);
    if mismatch.is_empty() { Ok(()) } else { Err(Box::new(mismatch).into()) }
}

/// The network, if nothing of it was left out.
fn filled<N: Slots>(mut network: N, source: &dyn TensorSource) -> Result<N, Error> {
    let missing: Vec<_> = SlotList::of(&mut network)
        .into_iter()
        .filter(|(_, slot)| !slot.is_filled())
        .map(|(name, _)| (name, Vec::new()))
        .collect();
    if missing.is_empty() {
        return Ok(network);
    }
    Err(Box::new(Mismatch { origin: source.origin(), missing, ..Mismatch::default() }).into())
}

#[cfg(test)]
mod tests;
