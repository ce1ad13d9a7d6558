//! JSON files, with errors that name the file and the field.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::Error;

/// Reads and parses a file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let parsed = serde_path_to_error::deserialize(&mut json);
    parsed
        .map_err(|e| (e.path().to_string(), e.into_inner()))
        .and_then(|value| json.end().map(|()| value).map_err(|e| (".".to_string(), e)))
        .map_err(|(field, error)| Error::Format {
            origin: match field.as_str() {
                "." => path.display().to_string(),
                field => format!("{}, field `{field}`", path.display()),
            },
            expected: if error.is_data() { "a value hypersd knows" } else { "JSON" }.to_string(),
            found: error.to_string(),
        })
}
