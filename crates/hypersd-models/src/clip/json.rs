//! The JSON files of a tokenizer.

use serde::Deserialize;

use crate::Error;

/// Reads one of the files, of which `expected` says in an error what it should have been.
pub(super) fn parse_json<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    expected: &str,
    text: &str,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::TokenizerFile {
        file,
        expected: expected.to_string(),
        found: e.to_string(),
    })
}
