//! Errors as JavaScript has them.

use js_sys::Error;

/// An error of the library, with its whole message.
pub(crate) fn js(error: impl std::error::Error) -> Error {
    Error::new(&error.to_string())
}

/// The error for an argument that cannot be right.
pub(crate) fn argument(name: &str, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::new(&format!("{name}: expected {expected}, found {found}"))
}
