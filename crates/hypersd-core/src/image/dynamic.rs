//! To and from the `image` crate's pictures.

use image::{DynamicImage, RgbImage};

use super::Image;
use crate::error::ImageError;

/// With the feature `dynamic-image`: the same pixels as `DynamicImage::ImageRgb8`, of the `image` crate 0.25.
impl From<Image> for DynamicImage {
    fn from(image: Image) -> Self {
        let [width, height] = [image.width, image.height].map(|side| side as u32); // at most MAX_SIDE
        let pixels = RgbImage::from_raw(width, height, image.rgb8).expect("an image has all of its pixels");
        Self::ImageRgb8(pixels)
    }
}

/// With the feature `dynamic-image`: the pixels in RGB of 8 bits, an alpha channel dropped, as [`Image::open`] reads them.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a side that is 0 or over [`Image::MAX_SIDE`].
impl TryFrom<DynamicImage> for Image {
    type Error = ImageError;

    fn try_from(image: DynamicImage) -> Result<Self, ImageError> {
        let rgb = image.into_rgb8();
        Self::from_rgb8(rgb.width() as usize, rgb.height() as usize, rgb.into_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_go_there_and_back() {
        let image = Image::from_rgb8(3, 2, (0..18).collect()).expect("an image");
        let dynamic = DynamicImage::from(image.clone());
        assert_eq!((dynamic.width(), dynamic.height()), (3, 2));
        assert_eq!(dynamic.as_bytes(), image.rgb8());
        assert_eq!(Image::try_from(dynamic).expect("a size"), image);
        let gray = DynamicImage::new_luma8(2, 1);
        assert_eq!(Image::try_from(gray).expect("a size").rgb8(), [0; 6]);
        assert!(Image::try_from(DynamicImage::new_rgb8(0, 4)).is_err());
    }
}
