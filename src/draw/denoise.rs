//! The loop, as an iterator of latents: progress, previews and cancelling are the caller's `for` and `break`.

use burn::tensor::{FloatDType, Tensor};
use hypersd_schedulers::{Advanced, History, Schedule, Step};

use super::{
    control::Controls,
    guidance::Guided,
    latents::{Latents, NoiseSource},
    start::{Beginning, Kept},
};
use crate::Error;

/// Latents after one step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Denoised {
    /// The step's place in the schedule, from 0.
    pub index: usize,
    /// The number of steps.
    pub steps: usize,
    /// The training timestep it started from.
    pub t: f32,
    /// The latents, `[B, 4, H/8, W/8]` in f32; after the last step, what [`Pipeline::decode`] wants.
    ///
    /// [`Pipeline::decode`]: crate::Pipeline::decode
    pub x: Tensor<4>,
    /// The clean latents as the model sees them at this step: decode it for a preview.
    pub x0: Tensor<4>,
}

/// A step that was taken, for whoever [edits](Denoising::edit) its latents before the next one.
#[derive(Debug)]
pub struct Edited<'a> {
    step: &'a Denoised,
    /// The step that the latents are for; none after the last.
    next: Option<&'a Step>,
}

impl Edited<'_> {
    /// The step, with the latents that it left.
    #[must_use]
    pub fn step(&self) -> &Denoised {
        self.step
    }

    /// Clean latents with as much noise as those of the step have now: none after the last step. Both have the shape of
    /// the step's latents, and `noise` is standard normal.
    ///
    /// # Errors
    /// [`Error::Scheduler`] for another shape.
    pub fn noised(&self, x0: Tensor<4>, noise: Tensor<4>) -> Result<Tensor<4>, Error> {
        let [x0, noise] = [x0, noise].map(|x| like(x, &self.step.x));
        match self.next {
            Some(next) => Ok(next.add_noise(&Latents(x0), &Latents(noise))?.0),
            None => Ok(x0),
        }
    }
}

/// An edit of the latents between steps.
type Edit<'a> = Box<dyn FnMut(Edited<'_>) -> Result<Tensor<4>, Error> + Send + 'a>;

/// Denoising in progress. Each [`next`](Iterator::next) runs the denoiser once, and every ControlNet that acts in the
/// step; an error ends it. In [low memory](crate::PipelineBuilder::low_memory) these networks are let go with it.
pub struct Denoising<'a> {
    guided: Guided<'a>,
    controls: Controls<'a>,
    schedule: Schedule,
    noise: NoiseSource,
    edits: Vec<Edit<'a>>,
    x: Latents,
    history: History<Latents>,
    index: usize,
}

impl<'a> Denoising<'a> {
    /// Ready for the first step. `noise` is what the beginning has left of it.
    pub(super) fn new(
        guided: Guided<'a>,
        controls: Controls<'a>,
        schedule: Schedule,
        beginning: Beginning,
        noise: NoiseSource,
    ) -> Self {
        let Beginning { x, kept, .. } = beginning;
        let history = schedule.history();
        let keep = |kept: Kept| -> Edit<'a> { Box::new(move |edited| kept.put_back(&edited)) };
        let edits = kept.map(keep).into_iter().collect();
        Self { guided, controls, schedule, noise, edits, x, history, index: 0 }
    }

    /// Lets the latents of every step be replaced before they are given out and taken on from, the last step's too. Of
    /// several edits each has what the one before it made. Multistep schedulers keep to what they remember, as diffusers'
    /// do: DPM-Solver++ and UniPC still look back on clean latents from before an edit, and UniPC's corrector on noisy ones.
    ///
    /// ```no_run
    /// # use hypersd::{Error, Pipeline, Request, Tensor};
    /// # fn example(pipeline: &Pipeline, request: &Request, known: Tensor<4>, noise: Tensor<4>, mask: Tensor<4>)
    /// # -> Result<(), Error> {
    /// // What the mask keeps (0) stays as it is known, and all else is drawn around it.
    /// let denoising = pipeline.denoise(request)?.edit(move |edited| {
    ///     let kept = edited.noised(known.clone(), noise.clone())?;
    ///     let drawn = edited.step().x.clone();
    ///     Ok(kept.clone() + (drawn - kept) * mask.clone())
    /// });
    /// for step in denoising {
    ///     step?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn edit(mut self, edit: impl FnMut(Edited<'_>) -> Result<Tensor<4>, Error> + Send + 'a) -> Self {
        self.edits.push(Box::new(edit));
        self
    }

    /// Takes one step for each set of ControlNets that acts in any, and gives the latents `[B, 4, H/8, W/8]` after the
    /// last of them: every shape that the networks will meet, in as few steps as can be.
    pub(super) fn one_of_each(mut self) -> Result<Tensor<4>, Error> {
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
        let output = Latents(self.guided.predict(input, step.t, residuals.as_ref())?);
        let noise = step.noisy().then(|| self.noise.draw());
        let Advanced { x, x0, .. } = step.advance(&self.x, &output, noise.as_ref(), &mut self.history)?;
        let denoised = Denoised { index: self.index, steps: position.1, t: step.t, x: x.0, x0: x0.0 };
        let denoised = self.edited(denoised)?;
        self.x = Latents(denoised.x.clone());
        self.index += 1;
        Ok(denoised)
    }

    /// A step with the latents that the edits make of its own.
    fn edited(&mut self, mut step: Denoised) -> Result<Denoised, Error> {
        let next = self.schedule.steps.get(self.index + 1);
        for edit in &mut self.edits {
            let x = edit(Edited { step: &step, next })?;
            if x.dims() != step.x.dims() {
                return Err(Error::Request {
                    option: "edit",
                    expected: format!("latents of shape {:?}", step.x.dims()),
                    found: format!("{:?}", x.dims()),
                });
            }
            step.x = like(x, &step.x);
        }
        Ok(step)
    }
}

/// A tensor in f32, on the device of the latents.
fn like(x: Tensor<4>, latents: &Tensor<4>) -> Tensor<4> {
    x.to_device(&latents.device()).cast(FloatDType::F32)
}

impl Iterator for Denoising<'_> {
    type Item = Result<Denoised, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = *self.schedule.steps.get(self.index)?;
        let taken = self.advance(&step);
        if taken.is_err() {
            self.index = self.schedule.steps.len(); // there is nothing to go on from
        }
        Some(taken)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.schedule.steps.len() - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Denoising<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;

    #[test]
    fn drawing_may_go_on_in_another_thread() {
        fn sent<T: Send>() {}
        fn shared<T: Sync>() {}
        sent::<Denoising<'static>>();
        sent::<Pipeline>();
        shared::<Pipeline>();
    }
}
