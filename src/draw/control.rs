//! ControlNets in the loop.

use std::mem;

use burn::tensor::{Device, Tensor, TensorData};
use hypersd_controlnet::{ControlNet, Hint, Strength, after_zeros, control_pixels, control_size};
use hypersd_core::Image;
use hypersd_models::unet::Residuals;

use super::guidance::Guided;
use crate::{
    Error, Request, Start,
    network::{Lent, Network},
};

/// The picture that one ControlNet of a pipeline is shown, and the weight of what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// A picture of the kind that the ControlNet was trained on: an edge map ([`Canny`](crate::Canny) draws them), a depth map, a pose. It is
    /// resized to the picture, as diffusers does it. A photograph cannot be told from a map, so nothing refuses one.
    pub image: Image,
    /// Scale, and the share of the steps in which it acts.
    pub strength: Strength,
    /// True for a ControlNet that was made for inpainting, whose picture is the one that is painted in: the pixels under
    /// the mask of the request's [start](crate::Start::Masked) are shown to it as −1.
    pub masked: bool,
}

impl Control {
    /// A control image at full strength in all steps.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { image, strength: Strength::default(), masked: false }
    }

    /// The pixels that the ControlNet is shown, `[1, 3, H, W]` in [0, 1] for a picture of `height` by `width` pixels. Where
    /// only the surroundings of a mask are drawn it is shown these.
    fn pixels(
        &self,
        start: &Start,
        [height, width]: [usize; 2],
        device: &Device,
    ) -> Result<Tensor<4>, Error> {
        let Start::Masked { images, mask, .. } = start else {
            return Ok(control_pixels(&self.image, [width, height], device)?);
        };
        let image = mask.of_surroundings(&self.image, images, [height, width])?;
        let pixels = control_pixels(&image, [width, height], device)?;
        if !self.masked {
            return Ok(pixels);
        }
        let painted = mask.painting(images, [height, width])?.painted;
        let painted: Vec<bool> = painted.into_iter().cycle().take(3 * height * width).collect();
        let painted = TensorData::new(painted, [1, 3, height, width]);
        Ok(pixels.mask_fill(Tensor::from_data(painted, device), -1.0))
    }
}

/// The size of a picture that only its first control image says: height and width in pixels.
pub(super) fn size_of(controls: &[Control], factor: usize) -> Result<Option<[usize; 2]>, Error> {
    let size = controls.first().map(|control| control_size(&control.image, factor)).transpose()?;
    Ok(size.map(|[width, height]| [height, width]))
}

/// The ControlNets of a picture, with their images encoded once for all steps.
pub(super) struct Controls<'a>(Vec<Controlled<'a>>);

struct Controlled<'a> {
    net: Lent<'a, ControlNet>,
    hint: Hint,
    strength: Strength,
}

/// The hints of a picture, one for each ControlNet, with all that decides them.
#[derive(Debug, Default)]
pub(super) struct Hints {
    kept: Vec<(Shown, Hint)>,
    /// True where the last picture has all of the one before, and there are any.
    pub(super) reused: bool,
}

/// What a ControlNet is shown.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    image: Image,
    masked: bool,
    /// Read only where it has a mask.
    start: Option<Start>,
    size: [usize; 2],
}

impl<'a> Controls<'a> {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Encodes the control images for a picture of `size`, height and width in pixels; of the picture before, hints of the
    /// same are taken, and those of this one are left in their place.
    pub(super) fn new(
        nets: &'a [Network<ControlNet>],
        Request { controls, start, .. }: &Request,
        size: [usize; 2],
        hints: &mut Hints,
    ) -> Result<Self, Error> {
        if nets.len() != controls.len() {
            return Err(Error::Request {
                option: "controls",
                expected: format!("{}, one for each ControlNet of the pipeline", nets.len()),
                found: controls.len().to_string(),
            });
        }
        let mut before = mem::take(&mut hints.kept).into_iter();
        hints.reused = !nets.is_empty();
        let mut controlled = Vec::with_capacity(nets.len());
        for (net, control) in nets.iter().zip(controls) {
            control.strength.validate()?;
            let shown = Shown::new(control, start, size);
            let net = net.get()?;
            let hint = match before.next() {
                Some((same, hint)) if same == shown => hint,
                _ => {
                    hints.reused = false;
                    net.hint(control.pixels(start, size, &net.device())?)?
                }
            };
            hints.kept.push((shown, hint.clone()));
            controlled.push(Controlled { net, hint, strength: control.strength });
        }
        Ok(Self(controlled))
    }

    /// The ControlNets that act in step `index` of `steps`.
    pub(super) fn acting(&self, (index, steps): (usize, usize)) -> Vec<bool> {
        self.0.iter().map(|control| control.strength.guides(index, steps)).collect()
    }

    /// The sum of what all ControlNets that act in step `index` of `steps` add.
    ///
    /// `x` `[B, 4, h, w]` is what the UNet is given.
    pub(super) fn residuals(
        &self,
        (index, steps): (usize, usize),
        guided: &Guided<'_>,
        x: &Tensor<4>,
        t: f32,
    ) -> Result<Option<Residuals>, Error> {
        let mut sum: Option<Residuals> = None;
        for control in self.0.iter().filter(|control| control.strength.guides(index, steps)) {
            let residuals = control.residuals(guided, x.clone(), t)?;
            sum = Some(match sum {
                Some(sum) => sum + residuals,
                None => residuals,
            });
        }
        Ok(sum)
    }
}

impl Shown {
    fn new(control: &Control, start: &Start, size: [usize; 2]) -> Self {
        let start = matches!(start, Start::Masked { .. }).then(|| start.clone());
        Self { image: control.image.clone(), masked: control.masked, start, size }
    }
}

impl Controlled<'_> {
    fn residuals(&self, guided: &Guided<'_>, x: Tensor<4>, t: f32) -> Result<Residuals, Error> {
        let Self { net, hint, strength } = self;
        let scale = strength.residual_scale();
        let prompt_only = strength.guess_mode || net.config().global_pool_conditions;
        if !prompt_only {
            return Ok(net.forward(guided.input(x), &[t], guided.condition(), hint, scale)?);
        }
        let residuals = net.forward(x, &[t], guided.positive(), hint, scale)?;
        Ok(if guided.doubles() { after_zeros(residuals) } else { residuals })
    }
}
