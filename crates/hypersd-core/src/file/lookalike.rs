//! What a file is, by how it begins. Where it is not what it was taken for, the error should name the mistake, not the byte.

use std::path::Path;

use safetensors::SafeTensorError;

use super::{bytes::Bytes, header::LONGEST};
use crate::{error::Error, location::Location};

const OPEN: &str = "open it as a WeightFile, which reads it";
const CONVERT: &str =
    "take the .safetensors file of the same model, or save it again with PyTorch 1.6 or later";
const DOWNLOAD: &str = "this is not the file itself: download it again";

/// Bytes that tell what a file is.
pub(super) const GLANCE: u64 = 64;

/// The kinds of weight files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// And everything that is none of the others.
    Safetensors,
    Gguf,
    /// A zip archive or a bare pickle, as PyTorch writes them.
    Pickle,
}

impl Kind {
    /// The kind of a file.
    pub(crate) fn of(location: &Location, bytes: &Bytes) -> Result<Self, Error> {
        let glance = bytes.read(0..bytes.size().min(GLANCE), u8::from_le_bytes);
        let glance = glance.map_err(|error| location.io(error))?;
        Ok(match &*glance {
            glance if begins_safetensors(glance) => Self::Safetensors,
            glance if glance.starts_with(b"GGUF") => Self::Gguf,
            glance if glance.starts_with(ZIP) || begins_pickle(glance) => Self::Pickle,
            _ => Self::Safetensors,
        })
    }
}

const ZIP: &[u8] = b"PK\x03\x04";

/// True for the length of a header and the brace that it begins with. The low bytes of a length may be anything, so that
/// this goes before every magic number: it is how a file is known that ends too early.
fn begins_safetensors(glance: &[u8]) -> bool {
    let length = glance.first_chunk().map(|&length| u64::from_le_bytes(length));
    length.is_some_and(|length| length <= LONGEST) && glance.get(8).is_none_or(|&byte| byte == b'{')
}

/// The mark of a pickle of protocol 2 to 5, which is followed by an operation, none of which is 0.
fn begins_pickle(glance: &[u8]) -> bool {
    matches!(glance, [0x80, 2..=5, operation, ..] if *operation != 0)
}

/// First bytes, what they mean, and the way on.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (ZIP, "a zip archive, as PyTorch writes for .ckpt, .pth and .bin,", OPEN),
    (b"GGUF", "a GGUF file", OPEN),
    (b"version https://git-lfs", "a git-lfs pointer", "fetch what it points to with `git lfs pull`"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "give a weight file instead"),
    (b"\xff\xd8\xff", "a JPEG image", "give a weight file instead"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "take the .safetensors file of the same model"),
    (b"<", "an HTML or XML page", DOWNLOAD),
];

/// The error for a file of that `size` whose header cannot be read, by its first `bytes`.
pub(super) fn explain(location: &Location, bytes: &[u8], size: u64, error: &SafeTensorError) -> Error {
    let origin = location.to_string();
    let unsupported = |found: &str, instead: &str| Error::Unsupported {
        origin: origin.clone(),
        found: found.to_string(),
        instead: instead.to_string(),
    };
    let name = location.file_name().unwrap_or_default();
    let extension = Path::new(&*name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    if !begins_safetensors(bytes) {
        if let Some((_, found, instead)) = MAGIC.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
            return unsupported(found, instead);
        }
        if begins_pickle(bytes) {
            return unsupported("a Python pickle", OPEN);
        }
        if let (Some("ckpt" | "pt" | "pth" | "bin" | "pkl"), 1..) = (extension.as_deref(), size) {
            return unsupported("a PyTorch checkpoint that is neither a zip archive nor a pickle", CONVERT);
        }
    }
    Error::Format { origin, expected: "a safetensors file".to_string(), found: describe(bytes, size, error) }
}

fn describe(bytes: &[u8], size: u64, error: &SafeTensorError) -> String {
    use SafeTensorError as E;
    if size == 0 {
        return "an empty file".to_string();
    }
    // A header length in text would be astronomic: eight printable bytes are the start of a text file.
    if bytes.iter().take(8).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        return "a text file".to_string();
    }
    match (error, bytes.first_chunk()) {
        (E::HeaderTooLarge | E::InvalidHeaderLength, Some(&length)) => {
            let length = u64::from_le_bytes(length);
            format!("a header length of {length} in a file of {size} bytes: truncated, or of another format")
        }
        (E::MetadataIncompleteBuffer, _) => {
            format!("{size} bytes, which is not what the header describes: truncated or damaged")
        }
        (E::InvalidOffset(name), _) => {
            format!("a header in which {name:?} does not begin where the tensor before it ends")
        }
        _ => error.to_string(),
    }
}
