//! JSON files, with errors that name the file and the field.

use serde::de::DeserializeOwned;

use crate::{error::Error, location::Location};

/// Reads and parses a file.
pub(crate) fn read<T: DeserializeOwned>(location: &Location) -> Result<T, Error> {
    let bytes = location.read_small()?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let parsed = serde_path_to_error::deserialize(&mut json);
    parsed
        .map_err(|e| (e.path().to_string(), e.into_inner()))
        .and_then(|value| json.end().map(|()| value).map_err(|e| (".".to_string(), e)))
        .map_err(|(field, error)| {
            let (expected, found) = plain(&error);
            let origin = match field.as_str() {
                "." => location.to_string(),
                field => format!("{location}, field `{field}`"),
            };
            Error::Format { origin, expected, found }
        })
}

/// What was expected of a JSON text and what was found, in words for whoever wrote it: types of Rust and of the parser are
/// none of theirs.
#[must_use]
pub fn plain(error: &serde_json::Error) -> (String, String) {
    let message = error.to_string();
    let place = message.rfind(" at line ").unwrap_or(message.len());
    let (said, place) = message.split_at(place);
    if !error.is_data() {
        return ("JSON".into(), format!("{said}{place}"));
    }
    let typed = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    let typed = typed.and_then(|rest| rest.split_once(", expected "));
    if let Some((found, expected)) = typed {
        return (plain_type(expected), plain_value(found));
    }
    if let Some(name) = said.strip_prefix("missing field ") {
        return (format!("a field {name}"), "none".into());
    }
    match said.contains("did not match any variant") {
        true => ("a value hypersd knows".into(), "another".into()),
        false => ("a value hypersd knows".into(), said.into()),
    }
}

/// A type of Rust as JSON has it.
fn plain_type(name: &str) -> String {
    let words = match name.trim_start_matches("a value of type ") {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number",
        "i64" | "i32" => "an integer",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("variant") || other.starts_with("enum") => "a word",
        other => other,
    };
    words.replace("a boolean", "true or false")
}

/// A value as the parser describes it, without its type.
fn plain_value(described: &str) -> String {
    let kinds = ["string ", "integer ", "floating point ", "boolean ", "character "];
    let value = kinds.iter().find_map(|kind| described.strip_prefix(kind)).unwrap_or(described);
    match value {
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        "unit" => "null".into(),
        value => value.trim_matches('`').into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        let (expected, found) = plain(&serde_json::from_str::<T>(text).expect_err("not of this type"));
        format!("expected {expected}, found {found}")
    }

    #[test]
    fn no_word_of_the_parser_is_left() {
        assert_eq!(said::<usize>("\"eight\""), "expected a whole number, found \"eight\"");
        assert_eq!(said::<usize>("-4"), "expected a whole number, found -4");
        assert_eq!(said::<f64>("true"), "expected a number, found true");
        assert_eq!(said::<bool>("{}"), "expected true or false, found an object");
        assert_eq!(said::<Vec<usize>>("320"), "expected a list, found 320");
        assert_eq!(said::<String>("null"), "expected a string, found null");
        let cut = said::<Vec<usize>>("[1, ");
        assert!(cut.starts_with("expected JSON"), "{cut}");
    }
}
