//! The loop, as an iterator of latents: progress, previews and cancelling are the caller's `for` and `break`.

use burn::tensor::{FloatDType, Tensor};
use hypersd_lora::Merged;
use hypersd_schedulers::{Advanced, History, Schedule, Step};

use super::{
    control::Controls,
    denoiser::Denoiser,
    guidance::{Conditions, Guided, Scales},
    latents::{Latents, NoiseSource},
    start::{Beginning, Kept},
};
use crate::{Error, network::Network};

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

/// A denoiser that goes on where the one before it leaves off.
pub(super) struct Takeover<'a> {
    pub(super) denoiser: &'a Network<Denoiser, Merged>,
    pub(super) conditions: Conditions,
    pub(super) scales: Scales,
    /// Its steps.
    pub(super) schedule: Schedule,
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
/// step; an error ends it. In [low memory](crate::PipelineBuilder::low_memory) these networks are let go with it, or when a
/// refiner takes over.
pub struct Denoising<'a> {
    /// The denoiser; none while another is read, and none after an error in that.
    guided: Option<Guided<'a>>,
    controls: Controls<'a>,
    /// Its steps.
    schedule: Schedule,
    /// The place of the first of them among all.
    first: usize,
    takeover: Option<Takeover<'a>>,
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
        takeover: Option<Takeover<'a>>,
        beginning: Beginning,
        noise: NoiseSource,
    ) -> Self {
        let Beginning { x, kept, .. } = beginning;
        let history = schedule.history();
        let keep = |kept: Kept| -> Edit<'a> { Box::new(move |edited| kept.put_back(&edited)) };
        let edits = kept.map(keep).into_iter().collect();
        let guided = Some(guided);
        Self { guided, controls, schedule, first: 0, takeover, noise, edits, x, history, index: 0 }
    }

    /// Lets the next denoiser go on from here, if there is one and this one has taken its steps.
    fn take_over(&mut self) -> Result<(), Error> {
        if self.index < self.first + self.schedule.steps.len() {
            return Ok(());
        }
        let Some(Takeover { denoiser, conditions, scales, schedule }) = self.takeover.take() else {
            return Ok(());
        };
        (self.guided, self.controls) = (None, Controls::none()); // before anything else takes their place in memory
        self.guided = Some(Guided::new(denoiser.get()?, conditions, scales, None)?);
        self.first += self.schedule.steps.len();
        self.history = schedule.history();
        self.schedule = schedule;
        Ok(())
    }

    /// The number of all steps.
    fn steps(&self) -> usize {
        let after = self.takeover.as_ref().map_or(0, |takeover| takeover.schedule.steps.len());
        self.first + self.schedule.steps.len() + after
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

    /// Takes one step for each set of ControlNets that acts in any, and for each denoiser, and gives the latents
    /// `[B, 4, H/8, W/8]` after the last of them: every shape that the networks will meet, in as few steps as can be.
    pub(super) fn one_of_each(mut self) -> Result<Tensor<4>, Error> {
        self.one_of_each_set()?;
        if self.takeover.is_some() {
            self.index = self.first + self.schedule.steps.len();
            self.take_over()?;
            self.one_of_each_set()?;
        }
        Ok(self.x.0)
    }

    fn one_of_each_set(&mut self) -> Result<(), Error> {
        let steps = self.schedule.steps.len();
        // Steps are left out, so that none may look back.
        let alone: Vec<Step> = self.schedule.alone().collect();
        let mut met = Vec::new();
        for (index, step) in alone.iter().enumerate() {
            let acting = self.controls.acting((index, steps));
            if !met.contains(&acting) {
                met.push(acting);
                self.index = self.first + index;
                self.advance(step)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, step: &Step) -> Result<Denoised, Error> {
        let input = self.x.0.clone().mul_scalar(step.input_scale());
        let position = (self.index - self.first, self.schedule.steps.len());
        let guided = self.guided.as_ref().expect("a denoiser, until an error ends it");
        let residuals = self.controls.residuals(position, guided, &input, step.t)?;
        let output = Latents(guided.predict(input, step.t, residuals.as_ref())?);
        let noise = step.noisy().then(|| self.noise.draw());
        let Advanced { x, x0, .. } = step.advance(&self.x, &output, noise.as_ref(), &mut self.history)?;
        let denoised = Denoised { index: self.index, steps: self.steps(), t: step.t, x: x.0, x0: x0.0 };
        let denoised = self.edited(denoised)?;
        self.x = Latents(denoised.x.clone());
        self.index += 1;
        Ok(denoised)
    }

    /// A step with the latents that the edits make of its own.
    fn edited(&mut self, mut step: Denoised) -> Result<Denoised, Error> {
        let after = self.takeover.iter().flat_map(|takeover| &takeover.schedule.steps);
        let next = self.schedule.steps.iter().chain(after).nth(self.index - self.first + 1);
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
        if self.index == self.steps() {
            return None;
        }
        let taken = self.take_over().and_then(|()| {
            let step = self.schedule.steps[self.index - self.first];
            self.advance(&step)
        });
        if taken.is_err() {
            self.takeover = None;
            self.index = self.steps(); // there is nothing to go on from
        }
        Some(taken)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.steps() - self.index;
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
