//! Pictures drawn twice: at the size that a model is good at, and from that again at a larger one.

use hypersd_core::Image;
use hypersd_schedulers::Steps;

use crate::{Error, Pipeline, PipelineBuilder, Request, Start, StartStrength, start::refuse};

/// A second, larger drawing from the pictures of a first: the "hires fix" of other programs.
///
/// ```no_run
/// use hypersd::{Hires, Request, StartStrength};
///
/// # fn example(pipeline: &hypersd::Pipeline, request: &Request) -> Result<(), hypersd::Error> {
/// let hires = Hires { strength: StartStrength::Share(0.5), ..Hires::new(1.5) };
/// let images = pipeline.generate_hires(request, &hires)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Hires {
    /// How many times as large, 1 or more; each side is rounded down to a multiple of 8 pixels.
    pub scale: f64,
    /// How far towards noise the enlarged pictures are taken.
    pub strength: StartStrength,
    /// The steps of the second drawing; `None` is those of the first.
    pub steps: Option<Steps>,
}

impl Hires {
    /// So many times as large, at strength 0.5, in the steps of the first drawing.
    #[must_use]
    pub fn new(scale: f64) -> Self {
        Self { scale, strength: StartStrength::Share(0.5), steps: None }
    }

    /// The request of the second drawing, from the pictures of the first: image to image from all of them, enlarged by
    /// Pillow's Lanczos, with the same seed and all else of the first request.
    ///
    /// # Errors
    /// [`Error::Request`] for a scale below 1, or pictures that are none or would be too small or too large.
    pub fn request(&self, first: &Request, drawn: Vec<Image>) -> Result<Request, Error> {
        let Some(image) = drawn.first() else { return Err(refuse("hires pictures", "at least one", "none")) };
        let [width, height] = self.size([image.width(), image.height()])?;
        Ok(Request {
            width: Some(width),
            height: Some(height),
            steps: self.steps.clone().unwrap_or_else(|| first.steps.clone()),
            start: Start::Picture { images: drawn, strength: self.strength },
            ..first.clone()
        })
    }

    /// The sides of the second drawing: `⌊scale · side / 8⌋ · 8`.
    fn size(&self, sides: [usize; 2]) -> Result<[usize; 2], Error> {
        let found = |what: String| Error::Request {
            option: "hires",
            expected: format!("a scale of at least 1 that makes sides of 8 to {} pixels", Image::MAX_SIDE),
            found: what,
        };
        let scaled = sides.map(|side| (self.scale * side as f64 / 8.0).floor() * 8.0);
        if self.scale >= 1.0 && scaled.iter().all(|side| (8.0..=Image::MAX_SIDE as f64).contains(side)) {
            return Ok(scaled.map(|side| side as usize));
        }
        Err(found(format!("{} of {}x{}", self.scale, sides[0], sides[1])))
    }
}

impl Pipeline {
    /// Draws the pictures of a request twice, the second time larger: [`generate`](Self::generate), then `generate` of
    /// [`Hires::request`]. Both are checked before the first is drawn.
    ///
    /// A large picture is decoded in tiles if the pipeline was [built so](PipelineBuilder::tiled_vae).
    ///
    /// # Errors
    /// As `generate`, for either.
    pub fn generate_hires(&self, request: &Request, hires: &Hires) -> Result<Vec<Image>, Error> {
        let second = hires.request(request, vec![blank(request, self.model.plan(request)?.size)?])?;
        self.model.plan(&second)?;
        let drawn = self.generate(request)?;
        self.generate(&hires.request(request, drawn)?)
    }
}

impl PipelineBuilder {
    /// Checks a request and its second drawing as [`check`](Self::check) does one, and gives the second request with a
    /// picture of nothing in it, for [`Recipe::check`](crate::Recipe::check).
    ///
    /// # Errors
    /// As `check`, for either.
    pub fn check_hires(&self, request: &Request, hires: &Hires) -> Result<Request, Error> {
        let second = hires.request(request, vec![blank(request, self.plan(request)?.size)?])?;
        self.check(&second)?;
        Ok(second)
    }
}

/// A picture of the size that a request's have: of what is drawn, or with a crop of what that is put back into.
fn blank(request: &Request, [height, width]: [usize; 2]) -> Result<Image, Error> {
    let [width, height] = match &request.start {
        Start::Masked { images, mask, .. } if mask.crop.is_some() => {
            images.first().map_or([width, height], |image| [image.width(), image.height()])
        }
        _ => [width, height],
    };
    Ok(Image::from_rgb8(width, height, vec![0; 3 * width * height])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_down_to_multiples_of_8() {
        assert_eq!(Hires::new(1.5).size([128, 72]).expect("a size"), [192, 104]);
        assert_eq!(Hires::new(1.3).size([512, 64]).expect("a size"), [664, 80]);
        assert_eq!(Hires::new(1.0).size([100, 64]).expect("a size"), [96, 64]);
        for scale in [0.0, -1.0, 0.01, 0.999, 1e9, f64::NAN, f64::INFINITY] {
            let error = Hires::new(scale).size([128, 128]).expect_err("no size");
            assert!(matches!(error, Error::Request { option: "hires", .. }), "{error}");
        }
    }
}
