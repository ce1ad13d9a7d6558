//! Fields that mean something else than what an algorithm computes.

use crate::{Algorithm, Error};

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
