//! One step: five numbers for x0, five for the next latent, and the arithmetic that is the same for all algorithms.

use crate::{Error, Linear, PredictionType, Sample};

/// How much image and how much noise is in a latent: x = signal·x0 + sigma·noise.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Level {
    /// Of the clean latent.
    pub signal: f32,
    /// Of the noise.
    pub sigma: f32,
    /// What makes the latent's variance 1, as the model expects of its input.
    pub input_scale: f32,
}

impl Level {
    /// A latent of variance 1, of which a share `a` is signal.
    pub(crate) fn of_alpha(a: f32) -> Self {
        Self { signal: a.sqrt(), sigma: (1.0 - a).sqrt(), input_scale: 1.0 }
    }

    /// A clean latent with noise on top: Euler's sigma space.
    pub(crate) fn exploding(sigma: f32) -> Self {
        Self { signal: 1.0, sigma, input_scale: 1.0 / (sigma * sigma + 1.0).sqrt() }
    }

    /// The same share of noise as [`exploding`](Self::exploding), scaled to variance 1.
    pub(crate) fn preserving(sigma: f32) -> Self {
        let signal = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { signal, sigma: sigma * signal, input_scale: 1.0 }
    }

    /// `(x0, eps)` from the latent and what the model says of it.
    ///
    /// The v-prediction is defined on the model's input, of variance 1, hence its scale.
    pub(crate) fn split(&self, prediction: PredictionType) -> (Linear, Linear) {
        let (x, output) = (Linear::X, Linear::OUTPUT);
        let (signal, sigma) = (f64::from(self.signal), f64::from(self.sigma));
        let scale = f64::from(self.input_scale);
        match prediction {
            PredictionType::Epsilon => (1.0 / signal * (x - sigma * output), output),
            PredictionType::Sample => (output, 1.0 / sigma * (x - signal * output)),
            PredictionType::VPrediction => {
                let x = scale * x;
                (scale * (signal * x - sigma * output), scale * (signal * output + sigma * x))
            }
        }
    }
}

/// One step of a [`Schedule`](crate::Schedule): where it starts, and the coefficients that lead on from there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The timestep the model is called with; a whole number except for Euler with linspace spacing or Karras
    /// sigmas.
    pub t: f32,
    /// How noisy the latent is before the step.
    pub level: Level,
    /// The predicted clean latent.
    pub x0: Linear,
    /// What the predicted clean latent is clamped to.
    pub clip: Option<f32>,
    /// The next latent.
    pub next: Linear,
    /// Whether noise is drawn; see [`noisy`](Self::noisy).
    pub draws_noise: bool,
}

/// What a step gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Advanced<T> {
    /// The next latent.
    pub x: T,
    /// The clean latent as predicted at this step: what a preview shows, and what the next step may ask for as
    /// `previous`.
    pub x0: T,
}

impl Step {
    /// Whether [`advance`](Self::advance) takes noise: exactly where diffusers draws some, so that a generator
    /// that several steps or pictures share stays in step with it. Euler ancestral draws noise for its last step
    /// and then multiplies it by 0.
    #[must_use]
    pub fn noisy(&self) -> bool {
        self.draws_noise
    }

    /// Whether [`advance`](Self::advance) needs the x0 of the step before.
    #[must_use]
    pub fn needs_previous(&self) -> bool {
        self.next.previous != 0.0
    }

    /// What the latent is multiplied by before the model (and ControlNet) see it: 1 except for the Euler family.
    #[must_use]
    pub fn input_scale(&self) -> f32 {
        self.level.input_scale
    }

    /// From the latent `x` of this step and the model's `output` to the latent of the next.
    ///
    /// `noise` is standard normal and is read where [`noisy`](Self::noisy); `previous` is [`Advanced::x0`] of the
    /// step before and is read where [`needs_previous`](Self::needs_previous). All have the shape of `x`.
    ///
    /// # Errors
    /// Where noise or the previous x0 is missing, or a shape differs.
    pub fn advance<T: Sample>(
        &self,
        x: &T,
        output: &T,
        noise: Option<&T>,
        previous: Option<&T>,
    ) -> Result<Advanced<T>, Error> {
        let noise = match noise {
            None if self.draws_noise => return Err(Error::MissingNoise { t: self.t }),
            noise => noise.filter(|_| self.draws_noise),
        };
        let previous = match previous {
            None if self.needs_previous() => return Err(Error::MissingPrevious { t: self.t }),
            previous => previous.filter(|_| self.needs_previous()),
        };
        for (name, other) in [("output", Some(output)), ("noise", noise), ("previous", previous)] {
            if let Some(given) = other.map(Sample::shape)
                && given != x.shape()
            {
                return Err(Error::Shape { name, given, expected: x.shape() });
            }
        }

        let x0 = combine(&[(self.x0.x, Some(x)), (self.x0.output, Some(output))]);
        let x0 = match self.clip {
            Some(limit) => x0.clamp(limit),
            None => x0,
        };
        let x = combine(&[
            (self.next.x, Some(x)),
            (self.next.output, Some(output)),
            (self.next.x0, Some(&x0)),
            (self.next.previous, previous),
            (self.next.noise, noise),
        ]);
        Ok(Advanced { x, x0 })
    }

    /// A clean latent brought to the noise level of this step: the start of image to image. `noise` has the shape
    /// of `x0`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add_noise<T: Sample>(&self, x0: &T, noise: &T) -> Result<T, Error> {
        if noise.shape() != x0.shape() {
            return Err(Error::Shape { name: "noise", given: noise.shape(), expected: x0.shape() });
        }
        Ok(T::linear_combination(&[(self.level.signal, x0), (self.level.sigma, noise)]))
    }
}

/// The sum of the terms that are there. A coefficient of 0 leaves its tensor out; no form here is 0 altogether.
fn combine<T: Sample>(terms: &[(f64, Option<&T>)]) -> T {
    let terms: Vec<(f32, &T)> = terms
        .iter()
        .filter(|(factor, _)| *factor != 0.0)
        .filter_map(|&(factor, tensor)| Some((factor as f32, tensor?)))
        .collect();
    T::linear_combination(&terms)
}
