//! Pictures that clients send. No more is decoded than a picture may have, whatever its header promises.

use std::{borrow::Cow, io::Cursor};

use base64::{Engine, engine::general_purpose::STANDARD};
use hypersd::Image;
use image::ImageReader;
use serde::Deserialize;

use crate::{options::Limits, refusal::Refusal};

/// A picture in a request: a part of its message, or base64.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Picture {
    part: Option<usize>,
    data: Option<String>,
    #[serde(default)]
    encoding: Encoding,
    width: Option<usize>,
    height: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// A PNG or JPEG file.
    #[default]
    File,
    Rgba,
    Rgb,
    Gray,
}

impl Picture {
    /// The picture, which is `what` of a request with these parts.
    pub(crate) fn image(&self, what: &str, parts: &[&[u8]]) -> Result<Image, Refusal> {
        let bytes = match (self.part, &self.data) {
            (Some(part), None) => parts.get(part).map(|bytes| Cow::from(*bytes)).ok_or_else(|| {
                Refusal::of(what, format_args!("a part below {}, their number", parts.len()), part)
            })?,
            (None, Some(text)) => from_base64(what, text)?.into(),
            _ => return Err(Refusal::of(what, "either part or data", "both or neither")),
        };
        let channels = match self.encoding {
            Encoding::File => return from_file(what, &bytes),
            Encoding::Rgba => 4,
            Encoding::Rgb => 3,
            Encoding::Gray => 1,
        };
        let (Some(width), Some(height)) = (self.width, self.height) else {
            return Err(Refusal::of(what, "width and height beside rows of pixels", "none"));
        };
        from_rows(what, &bytes, [width, height], channels)
    }
}

/// The bytes of base64, or of a data URL.
pub(crate) fn from_base64(what: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    let text = match text.strip_prefix("data:") {
        Some(url) => url.split_once(";base64,").map_or("", |(_, data)| data),
        None => text,
    };
    STANDARD.decode(text.trim()).map_err(|error| Refusal::of(what, "base64", error))
}

/// The base64 of bytes.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The picture of a PNG or JPEG file.
pub(crate) fn from_file(what: &str, bytes: &[u8]) -> Result<Image, Refusal> {
    check_header(what, bytes)?;
    Image::from_bytes(bytes).map_err(|error| Refusal::of(what, "a PNG or JPEG file", error))
}

/// White where a file's picture is transparent, if it is anywhere: what OpenAI's interface has for a mask.
pub(crate) fn transparency(what: &str, bytes: &[u8]) -> Result<Option<Image>, Refusal> {
    check_header(what, bytes)?;
    let decoded = image::load_from_memory(bytes);
    let decoded = decoded.map_err(|error| Refusal::of(what, "a PNG or JPEG file", error))?;
    if !decoded.color().has_alpha() {
        return Ok(None);
    }
    let alpha = decoded.to_rgba8();
    let (width, height) = (alpha.width() as usize, alpha.height() as usize);
    let transparent = alpha.pixels().map(|pixel| pixel[3] < 128);
    if !transparent.clone().any(|clear| clear) {
        return Ok(None);
    }
    let white: Vec<u8> = transparent.flat_map(|clear| [if clear { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(width, height, white).map(Some).map_err(|error| Refusal::of(what, "a picture", error))
}

/// Refuses what promises more pixels than are decoded.
fn check_header(what: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let size = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok();
    let size = size.and_then(|reader| reader.into_dimensions().ok());
    match size {
        Some((width, height)) => check_size(what, [width as usize, height as usize]),
        None => Err(Refusal::of(what, "a PNG or JPEG file", format_args!("{} other bytes", bytes.len()))),
    }
}

fn check_size(what: &str, [width, height]: [usize; 2]) -> Result<(), Refusal> {
    let pixels = width.checked_mul(height).filter(|pixels| (1..=Limits::SENT_PIXELS).contains(pixels));
    if pixels.is_some() && width.max(height) <= Image::MAX_SIDE {
        return Ok(());
    }
    let expected = format_args!("1 to {} pixels", Limits::SENT_PIXELS);
    Err(Refusal::of(what, expected, format_args!("{width}x{height}")))
}

fn from_rows(what: &str, bytes: &[u8], size: [usize; 2], channels: usize) -> Result<Image, Refusal> {
    check_size(what, size)?;
    let [width, height] = size;
    let expected = width * height * channels;
    if bytes.len() != expected {
        let expected = format_args!("{width}·{height}·{channels} = {expected} bytes");
        return Err(Refusal::of(what, expected, bytes.len()));
    }
    let rgb8 = match channels {
        1 => bytes.iter().flat_map(|level| [*level; 3]).collect(),
        3 => bytes.to_vec(),
        _ => bytes.chunks_exact(channels).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
    };
    Image::from_rgb8(width, height, rgb8).map_err(|error| Refusal::of(what, "a picture", error))
}
