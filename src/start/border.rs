//! Pictures made larger, for the new sides to be painted: outpainting.

use hypersd_core::Image;

use crate::Error;

/// Pixels to add at the sides of a picture.
///
/// ```
/// use hypersd::{Border, Image, Mask, Start, StartStrength};
///
/// # fn example(photo: Image) -> Result<Start, hypersd::Error> {
/// // 64 columns more on the right, painted from noise alone.
/// let (image, mask) = Border { right: 64, ..Border::default() }.extend(&photo, None)?;
/// Ok(Start::Masked { images: vec![image], mask: Mask::new(mask), strength: StartStrength::Share(1.0) })
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Border {
    /// Columns on the left.
    pub left: usize,
    /// Rows above.
    pub top: usize,
    /// Columns on the right.
    pub right: usize,
    /// Rows below.
    pub bottom: usize,
}

impl Border {
    /// The border with so much less of it that a picture of `width` by `height` pixels gets sides that are multiples of
    /// `factor`, first on the right and below: pictures are drawn at such sizes, and one that is not of one would be
    /// squeezed. A side stays as it is where the border has not as much to give.
    #[must_use]
    pub fn fitted(self, width: usize, height: usize, factor: usize) -> Self {
        let fit = |first: usize, own: usize, last: usize| {
            let over = first.saturating_add(own).saturating_add(last) % factor.max(1);
            let of_last = over.min(last);
            match first.checked_sub(over - of_last) {
                Some(first) => (first, last - of_last),
                None => (first, last),
            }
        };
        let (left, right) = fit(self.left, width, self.right);
        let (top, bottom) = fit(self.top, height, self.bottom);
        Self { left, top, right, bottom }
    }

    /// The larger picture and its mask: white on what was added, else as `mask`, which is brought to the size of the
    /// picture, or black.
    ///
    /// What was added is the picture mirrored at its sides, as often as it takes. So the encoder, which sees it, has
    /// colours and textures there that go on over the old edge, and below full strength drawing starts from them.
    ///
    /// Latents are of 8 pixels: where the old picture does not begin and end at a multiple of 8 of the new one, the latent at
    /// the edge belongs to whichever its first pixel is of.
    ///
    /// # Errors
    /// [`Error::Image`] for a picture that would be larger than one may be.
    pub fn extend(&self, image: &Image, mask: Option<&Image>) -> Result<(Image, Image), Error> {
        let sides = [self.left, self.top, self.right, self.bottom];
        let extended = image.mirrored_beyond(sides)?;
        let (width, height) = (image.width(), image.height());
        let own = match mask {
            Some(mask) => mask.resize(width, height)?,
            None => Image::from_rgb8(width, height, vec![0; 3 * width * height])?,
        };
        let (width, height) = (extended.width(), extended.height());
        let white = Image::from_rgb8(width, height, vec![255; 3 * width * height])?;
        Ok((extended, white.with_pasted(&own, self.left, self.top)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_gives_way_to_multiples() {
        let border = |left, top, right, bottom| Border { left, top, right, bottom };
        assert_eq!(border(0, 0, 20, 0).fitted(128, 128, 8), border(0, 0, 16, 0));
        assert_eq!(border(3, 9, 2, 0).fitted(100, 100, 8), border(3, 4, 1, 0), "104, and 104 rows");
        assert_eq!(border(6, 0, 1, 0).fitted(64, 64, 8), border(0, 0, 0, 0), "less than 8 is none");
        assert_eq!(border(0, 0, 3, 0).fitted(101, 64, 8), border(0, 0, 3, 0));
        assert_eq!(border(0, 0, 1, 0).fitted(103, 60, 8), border(0, 0, 1, 0), "60 rows have nothing to give");
        assert_eq!(border(1, 0, 1, 0).fitted(101, 64, 8), border(1, 0, 1, 0), "103 stays");
    }

    #[test]
    fn new_sides_mirror_the_picture_and_are_white_in_the_mask() {
        let gray = |bytes: &[u8]| bytes.iter().flat_map(|&byte| [byte; 3]).collect::<Vec<u8>>();
        let image = Image::from_rgb8(3, 1, gray(&[1, 2, 3])).expect("a picture");
        let border = Border { left: 4, right: 2, bottom: 1, ..Border::default() };
        let (extended, mask) = border.extend(&image, None).expect("a size");
        let row = [3, 3, 2, 1, 1, 2, 3, 3, 2];
        assert_eq!(extended.rgb8(), gray(&[row, row].concat()));
        let mut white = [255; 18];
        white[4..7].fill(0);
        assert_eq!(mask.luma(), white);
        let (_, mask) = border.extend(&image, Some(&image)).expect("a size");
        assert_eq!(mask.luma()[4..7], [1, 2, 3]);
        assert!(Border { left: usize::MAX, ..border }.extend(&image, None).is_err());
    }
}
