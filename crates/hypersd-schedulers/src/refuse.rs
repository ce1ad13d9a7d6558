//! Fields that mean something else than what an algorithm computes.

use crate::{Algorithm, Error, SchedulerConfig};

/// An error if sigmas are to be spaced in a way that is not here; for the algorithms that can space them as Karras et
/// al. do.
pub(crate) fn other_sigmas(algorithm: Algorithm, config: &SchedulerConfig) -> Result<(), Error> {
    let fields = [
        ("use_exponential_sigmas", config.use_exponential_sigmas),
        ("use_beta_sigmas", config.use_beta_sigmas),
    ];
    switches(algorithm, &fields, "set it to false, or use_karras_sigmas instead")
}

/// An error if any of the switches, each with its name, is on.
pub(crate) fn switches(
    algorithm: Algorithm,
    switches: &[(&'static str, Option<bool>)],
    instead: &'static str,
) -> Result<(), Error> {
    match switches.iter().find(|(_, on)| *on == Some(true)) {
        Some((field, _)) => refuse(algorithm, field, &true, instead),
        None => Ok(()),
    }
}

/// An error if a field has a value, and none of those that are known.
pub(crate) fn others<T: ToString + PartialEq<K>, K>(
    algorithm: Algorithm,
    field: &'static str,
    given: Option<&T>,
    known: &[K],
    instead: &'static str,
) -> Result<(), Error> {
    match given {
        Some(given) if !known.iter().any(|known| given == known) => refuse(algorithm, field, given, instead),
        _ => Ok(()),
    }
}

fn refuse(
    algorithm: Algorithm,
    field: &'static str,
    given: &dyn ToString,
    instead: &'static str,
) -> Result<(), Error> {
    Err(Error::Unsupported { algorithm, field, given: given.to_string(), instead })
}
