//! The header of a safetensors file: 8 bytes that say how long it is, and JSON that says what lies where.

use std::borrow::Cow;

use safetensors::{SafeTensorError, SafeTensors, tensor::Metadata};

use super::{
    bytes::Bytes,
    lookalike::{self, GLANCE},
};
use crate::{error::Error, location::Location};

/// Bytes of the length that a file begins with.
const LENGTH: u64 = size_of::<u64>() as u64;
/// Longest header that the format allows.
pub(super) const LONGEST: u64 = 100_000_000;

/// Where the tensors' data begin, and what lies there: one tensor after the other, to the end of the file.
pub(super) fn read(location: &Location, bytes: &Bytes) -> Result<(u64, Metadata), Error> {
    let read = |end: u64| bytes.read(0..end, u8::from_le_bytes).map_err(|error| location.io(error));
    let glance = read(bytes.size().min(GLANCE))?;
    let explain = |error| lookalike::explain(location, &glance, bytes.size(), &error);
    let start = data_start(&glance, bytes.size()).map_err(explain)?;
    let header: Cow<'_, [u8]> = read(start)?;
    let metadata = parse(&header).map_err(explain)?;
    match start.checked_add(metadata.data_len() as u64) {
        Some(end) if end == bytes.size() => Ok((start, metadata)),
        _ => Err(explain(SafeTensorError::MetadataIncompleteBuffer)),
    }
}

/// Where a header ends, by the first bytes of a file of that `size`.
fn data_start(glance: &[u8], size: u64) -> Result<u64, SafeTensorError> {
    let length = glance.first_chunk().ok_or(SafeTensorError::HeaderTooSmall)?;
    match u64::from_le_bytes(*length) {
        length if length > LONGEST => Err(SafeTensorError::HeaderTooLarge),
        length if length > size - LENGTH => Err(SafeTensorError::InvalidHeaderLength),
        length => Ok(LENGTH + length),
    }
}

/// Parses a header that is whole. Of what is wrong with it, JSON's own error says less than that of the whole format.
fn parse(header: &[u8]) -> Result<Metadata, SafeTensorError> {
    let json = serde_json::from_slice(&header[LENGTH as usize..]);
    json.map_err(|error| match SafeTensors::read_metadata(header) {
        Err(error) => error,
        Ok(_) => SafeTensorError::InvalidHeaderDeserialization(error),
    })
}
