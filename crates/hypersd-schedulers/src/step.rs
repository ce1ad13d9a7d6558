//! One step: a handful of numbers for x0 and for the next latent, and the arithmetic that is the same for all
//! algorithms.

use crate::{Error, History, Linear, PredictionType, Sample, history::reach};

/// The shares of image and noise in a latent: x = signal·x0 + sigma·noise.
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

    /// ln(signal/sigma), half the logarithm of the signal-to-noise ratio; infinite for a clean latent.
    pub(crate) fn lambda(&self) -> f32 {
        self.signal.ln() - self.sigma.ln()
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
            // Refused by `Trained`: PeRFlow alone knows them, and does not ask here.
            PredictionType::DdimEps | PredictionType::DiffEps => (Linear::default(), output),
        }
    }
}

/// One step of a [`Schedule`](crate::Schedule): where it starts, and the coefficients that lead on from there.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The timestep the model is called with; a whole number except for Euler, Heun and the stochastic DPM-Solver.
    pub t: f32,
    /// The noise in the latent before the step.
    pub level: Level,
    /// The predicted clean latent, from the latent and the model's output.
    pub x0: Linear,
    /// The bound that the predicted clean latent is clamped to.
    pub clip: Option<f32>,
    /// The latent that the step goes on from, where the model's output first corrects the one that was given: UniPC's
    /// corrector, from `x0` and the past.
    pub corrected: Option<Linear>,
    /// The next latent, from the (corrected) latent.
    pub next: Linear,
    /// True where noise is drawn; see [`noisy`](Self::noisy).
    pub draws_noise: bool,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Advanced<S> {
    /// The next latent.
    pub x: S,
    /// The clean latent as predicted at this step: what a preview shows.
    pub x0: S,
}

impl Step {
    /// A step that neither clamps, nor corrects, nor draws noise.
    pub(crate) fn new(t: f32, level: Level, x0: Linear, next: Linear) -> Self {
        Self { t, level, x0, clip: None, corrected: None, next, draws_noise: false }
    }

    /// True where [`advance`](Self::advance) takes noise: exactly where diffusers draws some, so that a generator
    /// that several steps or pictures share stays in step with it. Euler ancestral draws noise for its last step
    /// and then multiplies it by 0.
    #[must_use]
    pub fn noisy(&self) -> bool {
        self.draws_noise
    }

    /// The number of steps that [`advance`](Self::advance) looks back; 0 for steps that need no past.
    #[must_use]
    pub fn looks_back(&self) -> usize {
        let back = |form: Linear| {
            [&form.earlier_x[..], &form.earlier_x0, &form.earlier_output]
                .into_iter()
                .map(reach)
                .max()
                .unwrap_or(0)
        };
        self.forms().map(back).max().unwrap_or(0)
    }

    /// The factor by which the latent is multiplied before the model (and ControlNet) see it: 1 except for the Euler family.
    #[must_use]
    pub fn input_scale(&self) -> f32 {
        self.level.input_scale
    }

    /// Every form of the step.
    pub(crate) fn forms(&self) -> impl Iterator<Item = Linear> + use<> {
        [Some(self.x0), self.corrected, Some(self.next)].into_iter().flatten()
    }

    /// From the latent `x` of this step and the model's `output` to the latent of the next.
    ///
    /// `noise` is standard normal and is read where [`noisy`](Self::noisy). `history` is what
    /// [`Schedule::history`](crate::Schedule::history) made and the steps before filled; this step reads as much of it
    /// as it [`looks_back`](Self::looks_back) on, and adds itself. All samples have the shape of `x`.
    ///
    /// # Errors
    /// Where noise or an earlier step is missing, or a shape differs. The history is then as it was.
    pub fn advance<S: Sample>(
        &self,
        x: &S,
        output: &S,
        noise: Option<&S>,
        history: &mut History<S>,
    ) -> Result<Advanced<S>, Error> {
        let noise = match noise {
            None if self.draws_noise => return Err(Error::MissingNoise { t: self.t }),
            noise => noise.filter(|_| self.draws_noise),
        };
        let known = Known { x, output, x0: None, noise, history };
        self.check(&known)?;

        let x0 = known.combine(&self.x0);
        let x0 = match self.clip {
            Some(limit) => x0.clamp(limit),
            None => x0,
        };
        let known = Known { x0: Some(&x0), ..known };
        let corrected = self.corrected.map(|form| known.combine(&form));
        let from = corrected.as_ref().unwrap_or(x);
        let next = Known { x: from, ..known }.combine(&self.next);
        history.push(from, &x0, output);
        Ok(Advanced { x: next, x0 })
    }

    /// An error if an earlier step is missing, or a sample has another shape than `x`.
    fn check<S: Sample>(&self, known: &Known<S>) -> Result<(), Error> {
        let missing = || Error::MissingHistory { t: self.t, expected: self.looks_back() };
        let mut samples = vec![("output", known.output)];
        samples.extend(known.noise.map(|noise| ("noise", noise)));
        for form in self.forms() {
            for (_, sample) in known.past(&form).filter(|(factor, _)| *factor != 0.0) {
                samples.push(("history", sample.ok_or_else(missing)?));
            }
        }
        let expected = known.x.shape();
        match samples.into_iter().map(|(name, sample)| (name, sample.shape())).find(|(_, s)| *s != expected) {
            Some((name, given)) => Err(Error::Shape { name, given, expected }),
            None => Ok(()),
        }
    }

    /// A clean latent brought to the noise level of this step: the start of image to image. `noise` has the shape
    /// of `x0`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add_noise<S: Sample>(&self, x0: &S, noise: &S) -> Result<S, Error> {
        if noise.shape() != x0.shape() {
            return Err(Error::Shape { name: "noise", given: noise.shape(), expected: x0.shape() });
        }
        Ok(S::linear_combination(&[(self.level.signal, x0), (self.level.sigma, noise)]))
    }
}

/// The samples that a form may name.
struct Known<'a, S> {
    x: &'a S,
    output: &'a S,
    x0: Option<&'a S>,
    noise: Option<&'a S>,
    history: &'a History<S>,
}

impl<S: Sample> Known<'_, S> {
    /// The sum of the terms that are there. A coefficient of 0 leaves its sample out; no form here is 0 altogether.
    fn combine(&self, form: &Linear) -> S {
        let present = [(form.x, Some(self.x)), (form.output, Some(self.output)), (form.x0, self.x0)];
        let terms: Vec<(f32, &S)> = present
            .into_iter()
            .chain(self.past(form))
            .chain([(form.noise, self.noise)])
            .filter(|(factor, _)| *factor != 0.0)
            .filter_map(|(factor, sample)| Some((factor as f32, sample?)))
            .collect();
        S::linear_combination(&terms)
    }

    /// The terms of earlier steps.
    fn past(&self, form: &Linear) -> impl Iterator<Item = (f64, Option<&S>)> {
        let x0 = form.earlier_x0.into_iter().zip(1..).map(|(factor, back)| (factor, self.history.x0(back)));
        let x = form.earlier_x.into_iter().zip(1..).map(|(factor, back)| (factor, self.history.x(back)));
        let output = form
            .earlier_output
            .into_iter()
            .zip(1..)
            .map(|(factor, back)| (factor, self.history.output(back)));
        x0.chain(x).chain(output)
    }
}
