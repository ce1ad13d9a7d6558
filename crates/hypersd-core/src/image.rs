//! Pictures of 8-bit RGB, and the only place that rounds pixels.

mod compose;
#[cfg(feature = "dynamic-image")]
mod dynamic;
mod file;
mod gaussian;
mod jpeg;
mod lanczos;
mod tensor;
mod text;

pub use self::{compose::Region, tensor::PixelRange, text::TextChunk};
use crate::error::{Error, ImageError};

/// Red, green, blue.
const CHANNELS: usize = 3;

/// A picture in RGB, 8 bits a channel.
///
/// ```
/// use hypersd_core::{Image, PixelRange};
///
/// # fn main() -> Result<(), hypersd_core::ImageError> {
/// let gray = Image::from_rgb8(8, 16, vec![128; 8 * 16 * 3])?;
/// let x = gray.resize(64, 64)?.to_tensor(PixelRange::Signed);
/// assert_eq!(x.shape, [1, 3, 64, 64]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    /// `height` rows of `width` pixels of [`CHANNELS`] bytes.
    rgb8: Vec<u8>,
}

impl Image {
    /// Longest side that an image may have; more is taken for a mistake or an attack.
    pub const MAX_SIDE: usize = 16_384;
    /// Most pixels that an image may have, which is where Pillow takes a file for an attack.
    pub const MAX_PIXELS: usize = 178_956_970;

    /// An image of given bytes: row by row from the top, `[R, G, B]` a pixel.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side that is 0 or over [`MAX_SIDE`](Self::MAX_SIDE), or another number of bytes
    /// than `3 · width · height`.
    pub fn from_rgb8(width: usize, height: usize, rgb8: Vec<u8>) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let expected = CHANNELS * width * height;
        if rgb8.len() != expected {
            return Err(ImageError(Error::Argument {
                argument: "rgb8",
                expected: format!("3·{width}·{height} = {expected} bytes"),
                found: rgb8.len().to_string(),
            }));
        }
        Ok(Self { width, height, rgb8 })
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes: row by row from the top, `[R, G, B]` a pixel.
    #[must_use]
    pub fn rgb8(&self) -> &[u8] {
        &self.rgb8
    }

    /// The picture at another size, as Pillow's `resize((width, height), LANCZOS)` has it (Pillow 12.3, bit for
    /// bit). The aspect ratio is not kept.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side that is 0 or over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn resize(&self, width: usize, height: usize) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let rgb8 = lanczos::resize(&self.rgb8, (self.width, self.height), (width, height));
        Ok(Self { width, height, rgb8 })
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// The sizes that an image may have, for messages.
fn sizes() -> String {
    format!("sides from 1 to {} and at most {} pixels", Image::MAX_SIDE, Image::MAX_PIXELS)
}

fn check_size(width: usize, height: usize) -> Result<(), Error> {
    let sides = 1..=Image::MAX_SIDE;
    if sides.contains(&width) && sides.contains(&height) && width * height <= Image::MAX_PIXELS {
        return Ok(());
    }
    Err(Error::Argument { argument: "image size", expected: sizes(), found: format!("{width}x{height}") })
}
