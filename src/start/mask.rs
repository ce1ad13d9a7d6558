//! The part of a picture that is painted anew.

use hypersd_core::{Image, Region};

use super::refuse;
use crate::Error;

/// A mask, and how it is read.
///
/// It is blurred, resized to the size that is drawn (Pillow's Lanczos), and split at one half, as diffusers' mask processor
/// does it: a pixel is painted or it is not. A blur softens only the seam of a [crop](Self::crop), and by where the half
/// lies the mask's outline.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// White is painted anew, black stays. Colours count by their luma. Any size; with a crop it is first brought to that
    /// of the picture.
    pub image: Image,
    /// Radius in pixels of the mask of a Gaussian blur over it (diffusers' `mask_processor.blur`); 0 is none.
    pub blur: f32,
    /// With `Some`, only the mask's surroundings are drawn, in the full size of the request: the mask's bounding box with
    /// so many pixels around it, widened to the ratio of the size (diffusers' `padding_mask_crop`). What comes out is put
    /// back into the picture, which keeps its size, through the blurred mask.
    pub crop: Option<usize>,
}

/// What is drawn of masked pictures: pictures and mask at the size that is drawn.
#[derive(Debug)]
pub(crate) struct Painting {
    pub(crate) images: Vec<Image>,
    /// True where a pixel is painted; rows from the top.
    pub(crate) painted: Vec<bool>,
}

impl Mask {
    /// A mask as it is.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { image, blur: 0.0, crop: None }
    }

    /// Checks what needs no model.
    pub(super) fn check(&self, images: &[Image]) -> Result<(), Error> {
        if !(0.0..=Image::MAX_SIDE as f32).contains(&self.blur) {
            return Err(refuse("mask blur", format!("pixels from 0 to {}", Image::MAX_SIDE), self.blur));
        }
        if self.crop.is_none() {
            return Ok(());
        }
        let size = |image: &Image| format!("{}x{}", image.width(), image.height());
        let first = images.first().map(size).unwrap_or_default();
        if let Some(found) = images.iter().map(size).find(|size| *size != first) {
            return Err(refuse(
                "start pictures",
                format!("all of {first} pixels, with a mask's crop"),
                found,
            ));
        }
        if self.image.luma().iter().all(|&luma| luma == 0) {
            return Err(refuse("mask", "something white in it, with a crop to that", "black"));
        }
        Ok(())
    }

    /// Pictures and mask at a size, height and width in pixels.
    pub(crate) fn painting(&self, images: &[Image], [height, width]: [usize; 2]) -> Result<Painting, Error> {
        let mask = self.softened(images)?;
        let region = self.region(&mask, [height, width])?;
        let at_size = |image: &Image| match region {
            Some(region) => image.crop(region)?.resize_and_fill(width, height),
            None => image.resize(width, height),
        };
        let images = images.iter().map(|image| Ok(at_size(image)?)).collect::<Result<_, Error>>()?;
        // A byte is at least one half from 128 on.
        let painted = at_size(&mask)?.luma().into_iter().map(|luma| luma >= 128).collect();
        Ok(Painting { images, painted })
    }

    /// The part of a control image that is drawn: with a crop the mask's surroundings, of the image brought to the pictures'
    /// size; else all of it.
    pub(crate) fn of_surroundings(
        &self,
        image: &Image,
        images: &[Image],
        size: [usize; 2],
    ) -> Result<Image, Error> {
        let [height, width] = size;
        match (self.region(&self.softened(images)?, size)?, images.first()) {
            (Some(region), Some(own)) => {
                Ok(image.resize(own.width(), own.height())?.crop(region)?.resize_and_fill(width, height)?)
            }
            _ => Ok(image.clone()),
        }
    }

    /// The start pictures, in turn, with what was drawn of their surroundings of the mask in its place.
    pub(super) fn paste(&self, images: &[Image], drawn: Vec<Image>) -> Result<Vec<Image>, Error> {
        let mask = self.softened(images)?;
        let whole = |(drawn, own): (Image, &Image)| {
            let Some(region) = self.region(&mask, [drawn.height(), drawn.width()])? else { return Ok(drawn) };
            let part = drawn.resize_and_crop(region.width, region.height)?;
            let painted = own.clone().with_pasted(&part, region.left, region.top);
            Ok(own.with_painted(&painted, &mask)?)
        };
        drawn.into_iter().zip(images.iter().cycle()).map(whole).collect()
    }

    /// The blurred mask; with a crop of the pictures' size.
    fn softened(&self, images: &[Image]) -> Result<Image, Error> {
        let own = match images.first().filter(|_| self.crop.is_some()) {
            Some(image) => self.image.resize(image.width(), image.height())?,
            None => self.image.clone(),
        };
        Ok(own.blur(self.blur)?)
    }

    /// The part of the pictures that is drawn; `None` for all.
    fn region(&self, mask: &Image, [height, width]: [usize; 2]) -> Result<Option<Region>, Error> {
        let Some(padding) = self.crop else { return Ok(None) };
        Ok(mask.masked_region(width, height, padding)?)
    }
}
