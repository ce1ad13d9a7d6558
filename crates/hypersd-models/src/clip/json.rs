//! The JSON files of a tokenizer.

use hypersd_core::plain_json_error;
use serde::Deserialize;

use crate::Error;

/// Reads one of the files, of which `expected` says in an error what it should have been.
pub(super) fn parse_json<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    expected: &str,
    text: &str,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        let (within, found) = plain_json_error(&error);
        Error::TokenizerFile { file, expected: format!("{expected} ({within})"), found }
    })
}
