//! JPEG files: whether one is whole, and its pixels.

use image::RgbImage;
use libjpeg_turbo_rs::{PixelFormat, decompress_to};

/// The pixels that libjpeg-turbo gives, and so Pillow. `size` is what its header was understood to say.
pub(super) fn decode(bytes: &[u8], size: (u32, u32)) -> Result<RgbImage, String> {
    let image = decompress_to(bytes, PixelFormat::Rgb).map_err(|error| error.to_string())?;
    let found = format!("{}x{} pixels in a header that says {size:?}", image.width, image.height);
    match (u32::try_from(image.width), u32::try_from(image.height)) {
        (Ok(width), Ok(height)) if (width, height) == size => {
            RgbImage::from_raw(width, height, image.data).ok_or(found)
        }
        _ => Err(found),
    }
}

/// Start of image, end of image, start of scan; all of them after [`MARK`].
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
/// The byte before a marker. In a scan, followed by 0 it is itself, and by RST0 to RST7 a restart.
const MARK: u8 = 0xff;

/// True for a file that goes on to its end-of-image marker, without which decoders fill what is missing with gray and say nothing (ITU-T T.81, annex B): segments that say their length, and
/// scans that end at the next marker. What follows is nobody's.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    end(bytes).is_some()
}

/// The place behind the end-of-image marker.
fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (marker, after) = marker(bytes, at)?;
        at = match marker {
            EOI => return Some(after),
            // Without a length: SOI, TEM and restarts.
            SOI | 0x01 | 0xd0..=0xd7 => after,
            _ => {
                let length = bytes.get(after..after + 2)?;
                let next = after + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                if marker == SOS { scan_end(bytes, next)? } else { next }
            }
        };
    }
}

/// The next marker and the place behind it. Any number of fill bytes may stand before it.
fn marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    if *bytes.get(at)? != MARK {
        return None;
    }
    let fill = bytes[at..].iter().take_while(|&&byte| byte == MARK).count();
    Some((*bytes.get(at + fill)?, at + fill + 1))
}

/// The place of the marker that ends a scan's data.
fn scan_end(bytes: &[u8], from: usize) -> Option<usize> {
    let pairs = bytes.get(from..)?.windows(2);
    let ends = |pair: &[u8]| pair[0] == MARK && !matches!(pair[1], 0 | MARK | 0xd0..=0xd7);
    pairs.into_iter().position(ends).map(|offset| from + offset)
}
