//! What drawing starts from: noise, or a picture. Plain data, checked before anything heavy is done.

mod border;
mod mask;

use hypersd_core::Image;

pub use border::Border;
pub use mask::Mask;
pub(crate) use mask::Painting;

use crate::Error;

/// The beginning of a drawing.
///
/// ```
/// use hypersd::{Image, Request, Start, StartStrength};
///
/// # fn example(photo: Image) -> Request {
/// // Half of the steps, from the photograph with as much noise as there is half way.
/// let start = Start::Picture { images: vec![photo], strength: StartStrength::Share(0.5) };
/// Request { prompt: "a watercolour of a bird".into(), start, ..Request::default() }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Start {
    /// Pure noise: a prompt alone decides.
    #[default]
    Noise,
    /// A picture with noise over it: image to image.
    Picture {
        /// One picture for the whole batch, or as many as divide it: the batch is then they in turn. Each is resized to
        /// the size that is drawn, as diffusers does it (Pillow's Lanczos).
        images: Vec<Image>,
        /// How much of them is left.
        strength: StartStrength,
    },
    /// A picture of which a part is painted anew: inpainting. With a UNet for it (9 channels) the rest is what that is
    /// shown; with a plain one it is put back after every step, with the noise of that step.
    Masked {
        /// As of [`Picture`](Self::Picture).
        images: Vec<Image>,
        /// The part.
        mask: Mask,
        /// How much of the pictures is left under the mask. At 1 nothing is: drawing starts from pure noise.
        strength: StartStrength,
    },
    /// A picture that the prompt says how to change, with a UNet for that: InstructPix2Pix. Drawing starts from noise.
    Change {
        /// As of [`Picture`](Self::Picture).
        images: Vec<Image>,
        /// How closely the pictures are kept to, from 1 up; read only with guidance. diffusers' `image_guidance_scale`,
        /// there 1.5.
        image_guidance: f64,
    },
}

/// How far towards noise a picture is taken before it is drawn anew.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum StartStrength {
    /// diffusers' `strength`, above 0 and at most 1: of the N steps, which are those of a whole schedule, the last
    /// ⌊N · strength⌋ are taken. At 1 the picture still shows through the noise of the first step.
    ///
    /// With few steps there is little to choose: of 4 steps, 0.5 and 0.7 both leave the last 2.
    Share(f64),
    /// The share of the noise schedule at which drawing starts, above 0 and at most 1: all N steps are taken, at the
    /// timesteps `round(T · level · (N − i)/N) − 1`, with i from 0 and T the timesteps of training, 1000. So one or two
    /// steps start anywhere. At 1 these are the timesteps of trailing spacing. It goes with a number of steps, not with timesteps,
    /// and not with UniPC or Karras' sigmas, whose timesteps follow from their number.
    Level(f64),
}

impl Default for StartStrength {
    /// diffusers' 0.8.
    fn default() -> Self {
        Self::Share(0.8)
    }
}

impl Start {
    /// One picture, for the whole batch.
    #[must_use]
    pub fn picture(image: Image, strength: StartStrength) -> Self {
        Self::Picture { images: vec![image], strength }
    }

    /// The pictures that are started from; none for noise.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Noise => &[],
            Self::Picture { images, .. } | Self::Masked { images, .. } | Self::Change { images, .. } => {
                images
            }
        }
    }

    /// How far towards noise they are taken; `None` where drawing starts from noise alone.
    #[must_use]
    pub fn strength(&self) -> Option<StartStrength> {
        match self {
            Self::Noise | Self::Change { .. } => None,
            Self::Picture { strength, .. } | Self::Masked { strength, .. } => Some(*strength),
        }
    }

    /// Checks what needs no model.
    pub(crate) fn check(&self, batch: usize) -> Result<(), Error> {
        if let Some(strength) = self.strength() {
            strength.check()?;
        }
        let pictures = self.images().len();
        if *self != Self::Noise && (pictures == 0 || !batch.is_multiple_of(pictures)) {
            let expected = format!("one, or as many as divide the batch of {batch}");
            return Err(refuse("start pictures", expected, pictures));
        }
        match self {
            Self::Masked { images, mask, .. } => mask.check(images),
            Self::Change { image_guidance, .. } if !(*image_guidance as f32).is_finite() => {
                Err(refuse("image guidance", "a finite number", image_guidance))
            }
            _ => Ok(()),
        }
    }

    /// What becomes of the pictures of a whole drawing after they were decoded: with a [crop](Mask::crop) each is put
    /// back into its start picture, which keeps its size and, where the mask is black, its pixels. Others are left as they
    /// are. [`Pipeline::generate`](crate::Pipeline::generate) does this itself.
    ///
    /// # Errors
    /// [`Error::Image`] for sizes that no picture has.
    pub fn paste(&self, drawn: Vec<Image>) -> Result<Vec<Image>, Error> {
        match self {
            Self::Masked { images, mask, .. } if mask.crop.is_some() => mask.paste(images, drawn),
            _ => Ok(drawn),
        }
    }

    /// The size that a picture has where the request does not say one: the first picture's, rounded down to multiples of
    /// `factor`. Height and width.
    pub(crate) fn size(&self, factor: usize) -> Result<Option<[usize; 2]>, Error> {
        let Some(image) = self.images().first() else { return Ok(None) };
        let size = [image.height(), image.width()].map(|side| side - side % factor);
        if size.contains(&0) {
            let found = format!("{}x{}", image.width(), image.height());
            return Err(refuse("start picture", format!("sides of at least {factor} pixels"), found));
        }
        Ok(Some(size))
    }
}

impl StartStrength {
    /// True where nothing of a masked picture is left under its mask.
    pub(crate) fn is_whole(self) -> bool {
        let (Self::Share(x) | Self::Level(x)) = self;
        x == 1.0
    }

    fn check(self) -> Result<(), Error> {
        let (option, x) = match self {
            Self::Share(x) => ("strength", x),
            Self::Level(x) => ("noise level", x),
        };
        if x > 0.0 && x <= 1.0 {
            return Ok(());
        }
        Err(refuse(option, "a number above 0, at most 1", x))
    }
}

/// The error for a share of `steps` steps that leaves none.
pub(crate) fn leaves_no_step(steps: usize, share: f64) -> Error {
    let kept = |steps: usize| (steps as f64 * share) as usize;
    let enough = (1.0 / share).floor() as usize;
    let enough = (enough.max(1)..).find(|&steps| kept(steps) > 0).unwrap_or(enough);
    // Rounded up, so that what is named does draw.
    let least = (1e4 / steps as f64).ceil() / 1e4;
    let expected = format!(
        "a strength of at least {least} with {steps} steps, or at least {enough} steps with that strength (or a noise \
         level, which leaves all steps)"
    );
    refuse("strength", expected, format_args!("{share}, of which no step is left"))
}

pub(crate) fn refuse(option: &'static str, expected: impl Into<String>, found: impl ToString) -> Error {
    Error::Request { option, expected: expected.into(), found: found.to_string() }
}

/// Compiles the page's examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/pictures.md")]
struct Page;

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: usize) -> Image {
        Image::from_rgb8(side, side, vec![0; 3 * side * side]).expect("a picture")
    }

    #[test]
    fn the_numbers_that_draw_are_named() {
        let message = leaves_no_step(3, 0.3).to_string();
        assert!(message.contains("0.3334 with 3 steps") && message.contains("4 steps with"), "{message}");
        let message = leaves_no_step(1, 0.5).to_string();
        assert!(message.contains("at least 1 with 1 steps") && message.contains("2 steps with"), "{message}");
        // 1/49 times 49 is below 1 in f64: the number is rounded up far enough.
        for steps in 1..=1000 {
            let least = (1e4 / steps as f64).ceil() / 1e4;
            assert!(least > 1.0 || (steps as f64 * least) as usize >= 1, "{steps}");
        }
    }

    #[test]
    fn what_is_no_share_is_refused_by_name() {
        for (strength, name) in [
            (StartStrength::Share(0.0), "strength"),
            (StartStrength::Share(1.2), "strength"),
            (StartStrength::Share(f64::NAN), "strength"),
            (StartStrength::Level(-0.5), "noise level"),
            (StartStrength::Level(f64::INFINITY), "noise level"),
        ] {
            let error = Start::picture(picture(8), strength).check(1).expect_err("no share");
            assert!(matches!(error, Error::Request { option, .. } if option == name), "{error}");
        }
    }

    #[test]
    fn pictures_divide_the_batch() {
        let start =
            |count| Start::Picture { images: vec![picture(8); count], strength: StartStrength::default() };
        for (pictures, batch) in [(1, 1), (1, 3), (2, 4), (3, 3)] {
            start(pictures).check(batch).expect("whole rounds");
        }
        for (pictures, batch) in [(0, 1), (2, 1), (2, 3)] {
            start(pictures).check(batch).expect_err("not whole rounds");
        }
    }
}
