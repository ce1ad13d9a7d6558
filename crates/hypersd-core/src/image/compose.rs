//! Parts of pictures, and pictures put together, as Pillow does it for diffusers' inpainting.

use super::{CHANNELS, Image, check_size};
use crate::error::{Error, ImageError};

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Columns left of it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Columns in it.
    pub width: usize,
    /// Rows in it.
    pub height: usize,
}

impl Image {
    /// A part of the picture.
    ///
    /// # Errors
    /// [`Error::Argument`] for a region that is empty or not wholly inside.
    pub fn crop(&self, region: Region) -> Result<Self, ImageError> {
        let Region { left, top, width, height } = region;
        let inside =
            |from: usize, size: usize, of: usize| from.checked_add(size).is_some_and(|end| end <= of);
        check_size(width, height)?;
        if !inside(left, width, self.width) || !inside(top, height, self.height) {
            return Err(ImageError(Error::Argument {
                argument: "region",
                expected: format!("one inside of {}x{} pixels", self.width, self.height),
                found: format!("{width}x{height} at {left}, {top}"),
            }));
        }
        let row = |y: usize| &self.rgb8[((top + y) * self.width + left) * CHANNELS..][..width * CHANNELS];
        Ok(Self { width, height, rgb8: (0..height).flat_map(row).copied().collect() })
    }

    /// The picture with another one over a part of it; what would lie outside is cut off.
    #[must_use]
    pub fn with_pasted(mut self, other: &Self, left: usize, top: usize) -> Self {
        let columns = other.width.min(self.width.saturating_sub(left));
        let rows = other.height.min(self.height.saturating_sub(top));
        for y in 0..rows {
            let from = &other.rgb8[y * other.width * CHANNELS..][..columns * CHANNELS];
            self.rgb8[((top + y) * self.width + left) * CHANNELS..][..columns * CHANNELS]
                .copy_from_slice(from);
        }
        self
    }

    /// The picture with columns on the left, rows above, columns on the right and rows below added, which mirror it at its
    /// sides (numpy's `symmetric` padding).
    ///
    /// # Errors
    /// [`Error::Argument`] for a side over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn mirrored_beyond(&self, [left, top, right, bottom]: [usize; 4]) -> Result<Self, ImageError> {
        let width = self.width.saturating_add(left).saturating_add(right);
        let height = self.height.saturating_add(top).saturating_add(bottom);
        check_size(width, height)?;
        let mirrored = |at: usize, before: usize, size: usize| {
            let place = (at as i64 - before as i64).rem_euclid(2 * size as i64) as usize;
            place.min(2 * size - 1 - place)
        };
        let (pixels, _) = self.rgb8.as_chunks::<CHANNELS>();
        let row = |y: usize| &pixels[mirrored(y, top, self.height) * self.width..][..self.width];
        let columns: Vec<usize> = (0..width).map(|x| mirrored(x, left, self.width)).collect();
        let rgb8 = (0..height).flat_map(|y| columns.iter().flat_map(move |&x| row(y)[x])).collect();
        Ok(Self { width, height, rgb8 })
    }

    /// The luma of every pixel, row by row: `convert("L")`, ITU-R 601-2 in 16 bits.
    #[must_use]
    pub fn luma(&self) -> Vec<u8> {
        let (pixels, _) = self.rgb8.as_chunks::<CHANNELS>();
        let luma = |&[r, g, b]: &[u8; CHANNELS]| {
            (u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16
        };
        pixels.iter().map(|pixel| luma(pixel) as u8).collect()
    }

    /// The picture blurred as Pillow's `GaussianBlur(radius)` does it, in pixels; a radius of 0 leaves it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a radius that is negative, not a number, or longer than a side may be.
    pub fn blur(&self, radius: f32) -> Result<Self, ImageError> {
        if !(0.0..=Self::MAX_SIDE as f32).contains(&radius) {
            return Err(ImageError(Error::Argument {
                argument: "blur radius",
                expected: format!("pixels from 0 to {}", Self::MAX_SIDE),
                found: radius.to_string(),
            }));
        }
        let rgb8 = if radius == 0.0 {
            self.rgb8.clone()
        } else {
            super::gaussian::blur(&self.rgb8, self.width, radius)
        };
        Ok(Self { rgb8, ..*self })
    }

    /// The picture inside of a size, its aspect ratio kept, in the middle; what is left over at two sides continues its
    /// edges. diffusers' `resize_mode="fill"`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side that is 0 or over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn resize_and_fill(&self, width: usize, height: usize) -> Result<Self, ImageError> {
        check_size(width, height)?;
        let wider = self.is_wider_than(width, height);
        let inner = self.resize_to_aspect(width, height, wider)?;
        let left = (width / 2).saturating_sub(inner.width / 2);
        let top = (height / 2).saturating_sub(inner.height / 2);
        let black = Self { width, height, rgb8: vec![0; width * height * CHANNELS] };
        let filled = black.with_pasted(&inner, left, top);
        Ok(if inner.height < height && top > 0 {
            let (first, last) =
                (inner.edge_row(0, 1), inner.edge_row(inner.height - 1, inner.height.max(2) - 2));
            filled.with_rows(&first, 0..top).with_rows(&last, top + inner.height..height)
        } else if inner.width < width && left > 0 {
            let turned = filled.transposed();
            let inner = inner.transposed();
            let (first, last) =
                (inner.edge_row(0, 1), inner.edge_row(inner.height - 1, inner.height.max(2) - 2));
            turned.with_rows(&first, 0..left).with_rows(&last, left + inner.height..width).transposed()
        } else {
            filled
        })
    }

    /// The picture over a size, its aspect ratio kept, in the middle; what is over at two sides is cut off. diffusers'
    /// `resize_mode="crop"`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side that is 0 or over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn resize_and_crop(&self, width: usize, height: usize) -> Result<Self, ImageError> {
        check_size(width, height)?;
        // Where the ratios are equal either side decides.
        let higher = (width * self.height) > (self.width * height);
        let outer = self.resize_to_aspect(width, height, higher)?;
        let left = (outer.width / 2).saturating_sub(width / 2);
        let top = (outer.height / 2).saturating_sub(height / 2);
        let (inner_width, inner_height) = (outer.width.min(width), outer.height.min(height));
        let inner = outer.crop(Region { left, top, width: inner_width, height: inner_height })?;
        if (inner.width, inner.height) == (width, height) {
            return Ok(inner);
        }
        // By rounding a pixel may be missing: black, as there.
        let black = Self { width, height, rgb8: vec![0; width * height * CHANNELS] };
        let left = (width / 2).saturating_sub(outer.width / 2);
        let top = (height / 2).saturating_sub(outer.height / 2);
        Ok(black.with_pasted(&inner, left, top))
    }

    /// This picture where a mask is black, and `painted` where it is white, in shares in between: diffusers'
    /// `apply_overlay`, with Pillow's roundings. All have one size.
    ///
    /// # Errors
    /// [`Error::Argument`] for pictures of several sizes.
    pub fn with_painted(&self, painted: &Self, mask: &Self) -> Result<Self, ImageError> {
        for other in [painted, mask] {
            if (other.width, other.height) != (self.width, self.height) {
                return Err(ImageError(Error::Argument {
                    argument: "mask and picture",
                    expected: format!("{}x{} pixels", self.width, self.height),
                    found: format!("{}x{}", other.width, other.height),
                }));
            }
        }
        let (own, _) = self.rgb8.as_chunks::<CHANNELS>();
        let (new, _) = painted.rgb8.as_chunks::<CHANNELS>();
        let kept = mask.luma().into_iter().map(|mask| 255 - mask);
        let rgb8 = own
            .iter()
            .zip(new)
            .zip(kept)
            .flat_map(|((own, new), kept)| {
                std::array::from_fn::<u8, CHANNELS, _>(|c| over(own[c], kept, new[c]))
            })
            .collect();
        Ok(Self { rgb8, ..*self })
    }

    /// The part of a mask that has all that is not black in it, with `padding` pixels around it, widened to the ratio of a
    /// picture of `width` by `height` as far as it goes: diffusers' `get_crop_region`. `None` where all is black.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side that is 0 or over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn masked_region(
        &self,
        width: usize,
        height: usize,
        padding: usize,
    ) -> Result<Option<Region>, ImageError> {
        check_size(width, height)?;
        let luma = self.luma();
        let rows = || luma.chunks_exact(self.width);
        let row_has = |y: &usize| rows().nth(*y).is_some_and(|row| row.iter().any(|&x| x > 0));
        let column_has = |x: &usize| rows().any(|row| row[*x] > 0);
        let ends = |size: usize, has: &dyn Fn(&usize) -> bool| {
            Some(((0..size).find(has)?, (0..size).rfind(has)? + 1))
        };
        let (Some((left, right)), Some((top, bottom))) =
            (ends(self.width, &column_has), ends(self.height, &row_has))
        else {
            return Ok(None);
        };
        let padded = |from: usize, to: usize, size: usize| {
            (from.saturating_sub(padding) as i64, to.saturating_add(padding).min(size) as i64)
        };
        let (mut x, mut y) = (padded(left, right, self.width), padded(top, bottom, self.height));
        let ratio = width as f64 / height as f64;
        let (w, h) = ((x.1 - x.0) as f64, (y.1 - y.0) as f64);
        if w / h > ratio {
            y = widened(y, (w / ratio - h) as i64, self.height as i64);
        } else {
            x = widened(x, (h * ratio - w) as i64, self.width as i64);
        }
        let [left, top, width, height] = [x.0, y.0, x.1 - x.0, y.1 - y.0].map(|n| n.max(0) as usize);
        Ok(Some(Region { left, top, width, height }))
    }

    /// True where the picture is wider than a rectangle, for its height.
    fn is_wider_than(&self, width: usize, height: usize) -> bool {
        width * self.height < self.width * height
    }

    /// The picture at `width`, or else at `height`, and its own ratio.
    fn resize_to_aspect(&self, width: usize, height: usize, by_width: bool) -> Result<Self, ImageError> {
        match by_width {
            true => self.resize(width, (self.height * width / self.width).max(1)),
            false => self.resize((self.width * height / self.height).max(1), height),
        }
    }

    /// What Pillow's bicubic filter makes of an empty strip at an edge: 9/8 of the outermost row less 1/8 of the next.
    fn edge_row(&self, outermost: usize, next: usize) -> Vec<u8> {
        /// Fraction bits of a weight, as in Lanczos.
        const PRECISION: u32 = 22;
        let weight = |eighths: i32| eighths << (PRECISION - 3);
        let row = |y: usize| &self.rgb8[y * self.width * CHANNELS..][..self.width * CHANNELS];
        if self.height == 1 {
            return row(0).to_vec();
        }
        let sum = |(&a, &b): (&u8, &u8)| {
            let sum = weight(9) * i32::from(a) - weight(1) * i32::from(b) + (1 << (PRECISION - 1));
            (sum >> PRECISION).clamp(0, 255) as u8
        };
        row(outermost).iter().zip(row(next)).map(sum).collect()
    }

    /// The picture with one row in the place of several.
    fn with_rows(mut self, row: &[u8], rows: std::ops::Range<usize>) -> Self {
        for y in rows {
            self.rgb8[y * row.len()..][..row.len()].copy_from_slice(row);
        }
        self
    }

    /// Rows for columns.
    fn transposed(&self) -> Self {
        let rgb8 = super::gaussian::transpose(&self.rgb8, self.width, self.height);
        Self { width: self.height, height: self.width, rgb8 }
    }
}

/// A range made longer by `more`, evenly at both ends, and moved inside of 0 to `size`.
fn widened((mut from, mut to): (i64, i64), more: i64, size: i64) -> (i64, i64) {
    from -= more.div_euclid(2);
    to += more - more.div_euclid(2);
    if to >= size {
        from -= to - size;
        to = size;
    }
    if from < 0 {
        to -= from;
        from = 0;
    }
    (from, to.min(size))
}

/// A byte of which a share of `kept`/255 lies over another: premultiplied (`RGBa`), back (`RGBA`), and composed.
fn over(own: u8, kept: u8, below: u8) -> u8 {
    if kept == 0 {
        return below;
    }
    let [own, kept, below] = [own, kept, below].map(u32::from);
    let premultiplied = div255(own * kept);
    let own = if kept == 255 { premultiplied } else { (255 * premultiplied / kept).min(255) };
    // Pillow's `AlphaComposite.c`: the picture below is opaque, so that the outcome is.
    const BITS: u32 = 7;
    let of_own = kept * 255 * 255 * (1 << BITS) / (255 * 255);
    let of_below = 255 * (1 << BITS) - of_own;
    let sum = own * of_own + below * of_below + (0x80 << BITS);
    ((((sum >> 8) + sum) >> 8) >> BITS) as u8
}

/// `x / 255`, rounded, for x up to 255².
fn div255(x: u32) -> u32 {
    let x = x + 128;
    ((x >> 8) + x) >> 8
}
