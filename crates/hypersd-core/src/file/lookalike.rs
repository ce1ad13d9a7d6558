//! What a file is that is not safetensors: the error should name the mistake, not the byte.

use std::path::Path;

use safetensors::SafeTensorError;

use crate::{error::Error, location::Location};

const PICKLE: &str = "pickles can run code when they are read, so hypersd never opens them: take the .safetensors \
                      file of the same model, or convert this one (in Python: \
                      `safetensors.torch.save_file(torch.load(path, weights_only=True), ...)`)";
const DOWNLOAD: &str = "this is not the file itself: download it again";

/// First bytes, what they mean, and the way on.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"PK\x03\x04", "a zip archive, as PyTorch writes for .ckpt, .pth and .bin,", PICKLE),
    (b"\x80\x02", "a Python pickle", PICKLE),
    (b"\x80\x03", "a Python pickle", PICKLE),
    (b"\x80\x04", "a Python pickle", PICKLE),
    (b"\x80\x05", "a Python pickle", PICKLE),
    (b"version https://git-lfs", "a git-lfs pointer", "fetch what it points to with `git lfs pull`"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "give a weight file instead"),
    (b"\xff\xd8\xff", "a JPEG image", "give a weight file instead"),
    (b"GGUF", "a GGUF file", "take the .safetensors file of the same model"),
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
    // Only a file that does not parse comes here, so that a header length can never be taken for a magic number.
    if let Some((_, found, instead)) = MAGIC.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return unsupported(found, instead);
    }
    let name = location.file_name().unwrap_or_default();
    let extension = Path::new(&*name).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    if let Some("ckpt" | "pt" | "pth" | "bin" | "pkl") = extension.as_deref() {
        return unsupported("a PyTorch checkpoint", PICKLE);
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
