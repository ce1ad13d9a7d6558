//! The loop, as an iterator of latents: progress, previews and cancelling are the caller's `for` and `break`.

use burn::tensor::{DType, Device, Tensor, TensorData};
use hypersd_core::Noise;
use hypersd_models::unet::UNet;
use hypersd_schedulers::{Advanced, History, Schedule, Step};

use crate::{Error, control::Controls, guidance::Guided, latents::Latents, network::Lent};

/// Latents after one step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Denoised {
    /// Which step this was, from 0.
    pub index: usize,
    /// How many there are.
    pub steps: usize,
    /// The training timestep it started from.
    pub t: f32,
    /// The latents, `[B, 4, H/8, W/8]` in f32; after the last step, what [`Pipeline::decode`] wants.
    ///
    /// [`Pipeline::decode`]: crate::Pipeline::decode
    pub x: Tensor<4>,
    /// What the model takes the clean latents to be at this step: decode it for a preview.
    pub x0: Tensor<4>,
}

/// Denoising in progress. Each [`next`](Iterator::next) runs the UNet once, and every ControlNet
/// that acts in the step. In [low memory](crate::PipelineBuilder::low_memory) these networks are let go with it.
pub struct Denoising<'a> {
    unet: Lent<'a, UNet>,
    guided: Guided,
    controls: Controls<'a>,
    schedule: Schedule,
    noise: NoiseSource,
    x: Latents,
    history: History<Latents>,
    index: usize,
}

impl<'a> Denoising<'a> {
    /// Draws the initial latents and is ready for the first step.
    pub(crate) fn new(
        unet: Lent<'a, UNet>,
        guided: Guided,
        controls: Controls<'a>,
        schedule: Schedule,
        mut noise: NoiseSource,
    ) -> Self {
        let x = noise.draw();
        let x = Latents(x.0.mul_scalar(schedule.init_noise_sigma));
        let history = schedule.history();
        Self { unet, guided, controls, schedule, noise, x, history, index: 0 }
    }

    /// Takes one step for each set of ControlNets that acts in any, and gives the latents `[B, 4, H/8, W/8]` after the
    /// last of them: every shape that the networks will meet, in as few steps as can be.
    pub(crate) fn one_of_each(mut self) -> Result<Tensor<4>, Error> {
        let steps = self.schedule.steps.len();
        // Steps are left out, so that none may look back.
        let alone: Vec<Step> = self.schedule.alone().collect();
        let mut met = Vec::new();
        for (index, step) in alone.iter().enumerate() {
            let acting = self.controls.acting((index, steps));
            if !met.contains(&acting) {
                met.push(acting);
                self.index = index;
                self.advance(step)?;
            }
        }
        Ok(self.x.0)
    }

    fn advance(&mut self, step: &Step) -> Result<Denoised, Error> {
        let input = self.x.0.clone().mul_scalar(step.input_scale());
        let position = (self.index, self.schedule.steps.len());
        let residuals = self.controls.residuals(position, &self.guided, &input, step.t)?;
        let output = Latents(self.guided.predict(&self.unet, input, step.t, residuals.as_ref())?);
        let noise = step.noisy().then(|| self.noise.draw());
        let Advanced { x, x0 } = step.advance(&self.x, &output, noise.as_ref(), &mut self.history)?;
        let denoised = Denoised {
            index: self.index,
            steps: self.schedule.steps.len(),
            t: step.t,
            x: x.0.clone(),
            x0: x0.0.clone(),
        };
        self.x = x;
        self.index += 1;
        Ok(denoised)
    }
}

impl Iterator for Denoising<'_> {
    type Item = Result<Denoised, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = *self.schedule.steps.get(self.index)?;
        Some(self.advance(&step))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.schedule.steps.len() - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Denoising<'_> {}

/// Noise in the shape of the latents, drawn on the host so that it is the same on every device.
#[derive(Debug)]
pub(crate) struct NoiseSource {
    noise: Noise,
    /// `[B, 4, H/8, W/8]`
    shape: [usize; 4],
    device: Device,
}

impl NoiseSource {
    pub(crate) fn new(noise: Noise, shape: [usize; 4], device: Device) -> Self {
        Self { noise, shape, device }
    }

    /// One draw for the whole batch, in f32.
    fn draw(&mut self) -> Latents {
        let noise = self.noise.normal(&self.shape).to_f32().into_owned();
        Latents(Tensor::from_data(TensorData::new(noise, self.shape), (&self.device, DType::F32)))
    }
}
