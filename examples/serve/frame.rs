//! Messages with pictures in them: the length of a JSON object, the object, and what its `parts` list.

use serde::Deserialize;
use serde_json::{Value, json};

/// The most parts of a message; there is no request that has use for as many.
const PARTS: usize = 16;

/// A message, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) parts: Vec<&'a [u8]>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    bytes: usize,
}

impl<'a> Frame<'a> {
    /// Takes a binary message apart.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, String> {
        let (length, rest) = message.split_first_chunk().ok_or("a message of less than 4 bytes")?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, mut rest) = rest.split_at_checked(length).ok_or_else(|| {
            format!("a header of {length} bytes in a message with {} after its length", rest.len())
        })?;
        let listed: Listed =
            serde_json::from_slice(header).map_err(|error| format!("the header: {error}"))?;
        if listed.parts.len() > PARTS {
            return Err(format!("expected at most {PARTS} parts, found {}", listed.parts.len()));
        }
        let mut parts = Vec::with_capacity(listed.parts.len());
        for (index, part) in listed.parts.iter().enumerate() {
            let (this, after) = rest.split_at_checked(part.bytes).ok_or_else(|| {
                format!("part {index} of {} bytes, of which {} are there", part.bytes, rest.len())
            })?;
            parts.push(this);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(format!("{} bytes after the last part", rest.len()));
        }
        Ok(Self { header, parts })
    }
}

/// A message of a header and one part.
pub(crate) fn message(mut header: Value, part: &[u8]) -> Vec<u8> {
    header["parts"] = json!([{ "bytes": part.len() }]);
    let header = header.to_string();
    let length = u32::try_from(header.len()).expect("a header of a few hundred bytes");
    [&length.to_le_bytes(), header.as_bytes(), part].concat()
}
