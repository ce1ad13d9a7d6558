//! The options of what drawing starts from.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use hypersd::{Border, Error, Hires, Image, Mask, Start, StartStrength, Steps};

use crate::{numbers::whole, say};

/// A picture to start from instead of noise.
#[derive(Debug, Args)]
pub(crate) struct StartOptions {
    /// Starts from this picture instead of from noise; repeatable with --batch, whose pictures start from them in turn
    #[arg(long = "image", id = "start_images", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// How far towards noise it is taken: the share of the --steps that are drawn, above 0 and at most 1 [default: 0.8]
    #[arg(
        long,
        value_name = "X",
        requires = "start_images",
        conflicts_with = "noise_level",
        allow_negative_numbers = true
    )]
    strength: Option<f64>,
    /// Instead of --strength: draws all --steps, from this share of the noise schedule down; for one or two steps
    #[arg(long, value_name = "X", requires = "start_images", allow_negative_numbers = true)]
    noise_level: Option<f64>,
    /// Paints the white of this picture anew and leaves the black (inpainting)
    #[arg(long, value_name = "FILE", requires = "start_images")]
    mask: Option<PathBuf>,
    /// Blurs the mask by this radius
    #[arg(long, value_name = "PX", default_value_t = 0.0, allow_negative_numbers = true)]
    mask_blur: f32,
    /// Draws only the mask's surroundings, so many pixels around it, at full size and puts them back
    #[arg(
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of pixels, such as 32")
    )]
    mask_crop: Option<usize>,
    /// Adds so many pixels at the left, top, right and bottom, and paints them (outpainting)
    #[arg(long, value_name = "L,T,R,B", requires = "start_images", allow_hyphen_values = true)]
    extend: Option<Sides>,
    /// With an InstructPix2Pix UNet: how closely its changes keep to the --image, from 1 up; 1.5 is a good value
    #[arg(
        long,
        value_name = "X",
        requires = "start_images",
        conflicts_with_all = ["strength", "noise_level", "mask", "extend"],
        allow_negative_numbers = true
    )]
    image_guidance: Option<f64>,
}

impl StartOptions {
    /// Reads the pictures.
    pub(crate) fn start(&self) -> Result<Start, Error> {
        self.check()?;
        let mut images: Vec<Image> =
            self.images.iter().map(|path| Ok(Image::open(path)?)).collect::<Result<_, Error>>()?;
        if images.is_empty() {
            return Ok(Start::Noise);
        }
        if let Some(image_guidance) = self.image_guidance {
            return Ok(Start::Change { images, image_guidance });
        }
        let mut mask = self.mask.as_ref().map(Image::open).transpose()?;
        if let Some(Sides(border)) = self.extend {
            same_size(&images)?;
            let mut masks = Vec::new();
            let border = fitted(border, &images);
            for image in &mut images {
                let (extended, white) = border.extend(image, mask.as_ref())?;
                *image = extended;
                masks.push(white);
            }
            mask = masks.into_iter().next();
        }
        let strength = self.strength();
        Ok(match mask {
            Some(image) => {
                let mask = Mask { blur: self.mask_blur, crop: self.mask_crop, ..Mask::new(image) };
                Start::Masked { images, mask, strength }
            }
            None => Start::Picture { images, strength },
        })
    }

    /// Refuses settings of a mask that there is none for.
    fn check(&self) -> Result<(), Error> {
        let of_mask = [("--mask-blur", self.mask_blur != 0.0), ("--mask-crop", self.mask_crop.is_some())];
        match of_mask.into_iter().find(|(_, given)| *given) {
            Some((option, _)) if self.mask.is_none() && self.extend.is_none() => Err(Error::Request {
                option,
                expected: "a --mask or --extend beside it".into(),
                found: "neither".into(),
            }),
            _ => Ok(()),
        }
    }

    /// True where nothing says how far towards noise the pictures are taken, and something draws from a picture.
    pub(crate) fn wants_steps(&self, hires: &HiresOptions) -> bool {
        let of_picture = !self.images.is_empty() && self.strength.is_none() && self.noise_level.is_none();
        of_picture || hires.hires.is_some()
    }

    fn strength(&self) -> StartStrength {
        match (self.strength, self.noise_level) {
            (_, Some(level)) => StartStrength::Level(level),
            (Some(share), None) => StartStrength::Share(share),
            (None, None) => StartStrength::default(),
        }
    }
}

/// A border that leaves pictures of a size that can be drawn, so that they are not squeezed into one.
fn fitted(border: Border, images: &[Image]) -> Border {
    let Some(image) = images.first() else { return border };
    let fitted = border.fitted(image.width(), image.height(), 8);
    if fitted != border {
        let Border { left, top, right, bottom } = fitted;
        say::note(format_args!(
            "--extend: {left},{top},{right},{bottom}, for sides of multiples of 8 pixels"
        ));
    }
    fitted
}

/// Pictures that are extended have one mask, which fits them only if they are of one size.
fn same_size(images: &[Image]) -> Result<(), Error> {
    let size = |image: &Image| format!("{}x{}", image.width(), image.height());
    let expected = images.first().map(size).unwrap_or_default();
    match images.iter().map(size).find(|size| *size != expected) {
        Some(found) => {
            Err(Error::Request { option: "--extend", expected: format!("pictures all of {expected}"), found })
        }
        None => Ok(()),
    }
}

/// A second, larger drawing.
#[derive(Debug, Args)]
pub(crate) struct HiresOptions {
    /// Draws, enlarges so many times, and draws again from that
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    hires: Option<f64>,
    /// How far towards noise the enlarged picture is taken
    #[arg(long, value_name = "X", requires = "hires", default_value_t = 0.5, allow_negative_numbers = true)]
    hires_strength: f64,
    /// Steps of the second drawing [default: as --steps]
    #[arg(
        long,
        value_name = "N",
        requires = "hires",
        allow_negative_numbers = true,
        value_parser = whole("a whole number of steps, such as 4")
    )]
    hires_steps: Option<usize>,
}

impl HiresOptions {
    /// The second drawing, where there is to be one.
    pub(crate) fn hires(&self) -> Option<Hires> {
        let strength = StartStrength::Share(self.hires_strength);
        let steps = self.hires_steps.map(Steps::Count);
        self.hires.map(|scale| Hires { strength, steps, ..Hires::new(scale) })
    }
}

/// `--extend`.
#[derive(Debug, Clone, Copy)]
struct Sides(Border);

impl FromStr for Sides {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = text.split(',').map(|side| side.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[left, top, right, bottom]) => Ok(Self(Border { left, top, right, bottom })),
            _ => Err("expected four numbers of pixels, L,T,R,B, such as 0,0,64,0".into()),
        }
    }
}
