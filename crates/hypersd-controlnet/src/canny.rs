//! Canny's edge detector, equal to OpenCV's `cv2.Canny` with aperture 3 to the bit.
//!
//! Canny (1986), "A computational approach to edge detection". A row goes through three steps while it is in the
//! cache: Sobel derivatives ([`gradient`]), thinning to the ridges of the magnitude ([`ridges`]), and, when all rows
//! are done, growing the strong edges along the weak ones ([`grow`]). Magnitudes are exact integers, so there is
//! nothing to round and no backend to choose.
//!
//! The loops work on chunks of [`LANES`] pixels with fixed trip counts and without branches, which compilers turn
//! into vector instructions.

mod gradient;
mod grow;
mod magnitude;
mod ridges;

use hypersd_core::{Image, ImageError};

use self::{gradient::Gradients, magnitude::Magnitude};
use crate::argument;

/// Pixels that the vector loops take at once. More spill registers.
const LANES: usize = 16;

/// Finds edges: `Canny::default()` is what people prepare ControlNet images with, `cv2.Canny(image, 100, 200)`.
///
/// ```
/// use hypersd_controlnet::Canny;
/// use hypersd_core::Image;
///
/// // Black on the left, white on the right: one line of edge pixels between.
/// let rgb8: Vec<u8> = (0..8 * 8).flat_map(|i| [if i % 8 < 4 { 0 } else { 255 }; 3]).collect();
/// let edges = Canny::default().edges(&Image::from_rgb8(8, 8, rgb8)?)?;
/// let row: Vec<u8> = edges.rgb8().chunks(3).take(8).map(|pixel| pixel[0]).collect();
/// assert_eq!(row, [0, 0, 0, 255, 0, 0, 0, 0]);
/// # Ok::<(), hypersd_core::ImageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canny {
    /// Magnitude above which a pixel is an edge if it hangs together with a strong one.
    pub low: f64,
    /// Magnitude above which a pixel is an edge. If the two are the other way round, they are swapped.
    pub high: f64,
    /// Magnitude as the root of dx² + dy² rather than |dx| + |dy|.
    pub l2_gradient: bool,
}

impl Default for Canny {
    fn default() -> Self {
        Self { low: 100.0, high: 200.0, l2_gradient: false }
    }
}

impl Canny {
    /// The edges of a picture, white on black, as a picture of the same size.
    ///
    /// Each pixel goes by the channel with the largest magnitude; there is no conversion to gray.
    ///
    /// # Errors
    /// [`ImageError`] for a threshold that is not a number.
    pub fn edges(&self, image: &Image) -> Result<Image, ImageError> {
        let (width, height) = (image.width(), image.height());
        let edges = self.map::<3>(image.rgb8(), width, height)?;
        let rgb8: Vec<[u8; 3]> = edges.into_iter().map(|edge| [edge; 3]).collect();
        Image::from_rgb8(width, height, rgb8.into_flattened())
    }

    /// The edges of a gray picture: 255 where there is one, else 0.
    ///
    /// # Shapes
    /// - gray `[height · width]`, row by row → the same
    ///
    /// # Errors
    /// [`ImageError`] for a threshold that is not a number, another number of bytes than
    /// `width · height`, and sides that no [`Image`] has.
    pub fn edges_of_gray(&self, gray: &[u8], width: usize, height: usize) -> Result<Vec<u8>, ImageError> {
        let sides = 1..=Image::MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) || gray.len() != width * height {
            let expected = format!("width · height bytes, sides from 1 to {}", Image::MAX_SIDE);
            return Err(argument("gray", expected, format!("{} for {width}x{height}", gray.len())).into());
        }
        self.map::<1>(gray, width, height)
    }

    /// The edge map of an image of C interleaved channels.
    fn map<const C: usize>(&self, pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, ImageError> {
        if self.low.is_nan() || self.high.is_nan() {
            let found = format!("{} and {}", self.low, self.high);
            return Err(argument("Canny thresholds", "numbers", found).into());
        }
        let ordered = [self.low.min(self.high), self.low.max(self.high)];
        let size = [width, height];
        Ok(if self.l2_gradient {
            let square = |t: f64| if t > 0.0 { t * t } else { t };
            // OpenCV cuts off before it squares.
            detect::<C, i32>(pixels, size, ordered.map(|t| square(t.min(32767.0)).floor() as i32))
        } else {
            detect::<C, i16>(pixels, size, ordered.map(|t| t.floor() as i16))
        })
    }
}

/// Runs all steps. `low` and `high` are in the measure of `M`.
fn detect<const C: usize, M: Magnitude>(pixels: &[u8], size: [usize; 2], [low, high]: [M; 2]) -> Vec<u8> {
    let [width, height] = size;
    let mut gradients = Gradients::<C, M>::new(pixels, width);
    let mut map = grow::Map::new(size);
    gradients.advance();
    for y in 0..height {
        gradients.advance(); // to y + 1
        ridges::classify(&gradients.around(y), low, high, map.row_mut(y));
    }
    map.grow();
    map.into_edges()
}

/// The chunk that begins at `i`.
#[inline(always)]
fn chunk<T>(row: &[T], i: usize) -> &[T; LANES] {
    row[i..].first_chunk().expect("rows are padded to whole chunks")
}

#[inline(always)]
fn chunk_mut<T>(row: &mut [T], i: usize) -> &mut [T; LANES] {
    row[i..].first_chunk_mut().expect("rows are padded to whole chunks")
}

/// The chunks that begin at `i`, `i + 1` and `i + 2`: neighbours on the left, the pixels, neighbours on the right.
#[inline(always)]
fn neighbours<T>(row: &[T], i: usize) -> [&[T; LANES]; 3] {
    [chunk(row, i), chunk(row, i + 1), chunk(row, i + 2)]
}

#[cfg(test)]
mod tests;
