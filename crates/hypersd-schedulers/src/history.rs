//! The memory of multistep algorithms.

use std::collections::VecDeque;

use crate::{Linear, Sample, Step};

/// The latents, the clean latents and the model's outputs of earlier steps, as many as the steps to come look back on and no more.
///
/// Made by [`Schedule::history`](crate::Schedule::history), empty, and filled by [`Step::advance`]. Algorithms that do
/// not look back keep nothing in it.
#[derive(Debug, Clone)]
pub struct History<S> {
    x: Kept<S>,
    x0: Kept<S>,
    output: Kept<S>,
}

/// Samples, the last first.
#[derive(Debug, Clone)]
struct Kept<S> {
    samples: VecDeque<S>,
    most: usize,
}

impl<S: Sample> History<S> {
    pub(crate) fn for_steps(steps: &[Step]) -> Self {
        let reach = |coefficients: fn(&Linear) -> &[f64]| {
            steps.iter().flat_map(Step::forms).map(|form| reach(coefficients(&form))).max().unwrap_or(0)
        };
        Self {
            x: Kept::new(reach(|form| &form.earlier_x)),
            x0: Kept::new(reach(|form| &form.earlier_x0)),
            output: Kept::new(reach(|form| &form.earlier_output)),
        }
    }

    /// Remembers a step: the latent `x` that it went on from, the clean latent `x0` that it predicted, and the model's
    /// `output`.
    ///
    /// [`Step::advance`] does so itself. To go on with a schedule in the middle, push what was kept of the steps before,
    /// the oldest first.
    pub fn push(&mut self, x: &S, x0: &S, output: &S) {
        self.x.push(x);
        self.x0.push(x0);
        self.output.push(output);
    }

    /// The latent that the step `back` steps earlier went on from, where it was kept; 1 is the last step.
    pub fn x(&self, back: usize) -> Option<&S> {
        self.x.get(back)
    }

    /// The clean latent that was predicted `back` steps earlier, where it was kept; 1 is the last step.
    pub fn x0(&self, back: usize) -> Option<&S> {
        self.x0.get(back)
    }

    /// What the model said `back` steps earlier, where it was kept; 1 is the last step.
    pub fn output(&self, back: usize) -> Option<&S> {
        self.output.get(back)
    }
}

impl<S: Sample> Kept<S> {
    fn new(most: usize) -> Self {
        Self { samples: VecDeque::with_capacity(most), most }
    }

    fn push(&mut self, sample: &S) {
        if self.most > 0 {
            self.samples.truncate(self.most - 1);
            self.samples.push_front(sample.clone());
        }
    }

    fn get(&self, back: usize) -> Option<&S> {
        self.samples.get(back.checked_sub(1)?)
    }
}

/// The number of steps that coefficients look back.
pub(crate) fn reach(coefficients: &[f64]) -> usize {
    coefficients.iter().rposition(|&c| c != 0.0).map_or(0, |last| last + 1)
}
