//! From an algorithm, a configuration and a number of steps to the list of steps.

use std::{fmt, sync::Arc};

use crate::{
    Algorithm, Error, History, Linear, PredictionType, Sample, SchedulerConfig, Step, algorithm::Method,
};

/// A number of steps, or their timesteps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Steps {
    /// This many steps, at timesteps that the algorithm chooses.
    Count(usize),
    /// One step at each of these timesteps, strictly descending, all below T. Not for DDIM, Euler ancestral, UniPC, PNDM,
    /// PeRFlow, the stochastic DPM-Solver of two evaluations, and sigmas that are spaced by a curve, whose timesteps
    /// follow from their number.
    Timesteps(Vec<usize>),
    /// A step from each of these sigmas to the next, strictly descending; only the last, to which no step belongs, may
    /// be 0. For Euler.
    Sigmas(Vec<f32>),
}

/// As a message names it: `4 steps`, `the timesteps 999, 499`.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} steps"),
            Self::Timesteps(timesteps) => write!(f, "the timesteps {}", listed(timesteps)),
            Self::Sigmas(sigmas) => write!(f, "the sigmas {}", listed(sigmas)),
        }
    }
}

fn listed(numbers: &[impl ToString]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An algorithm with the noise levels of a configuration, ready to make schedules.
#[derive(Debug, Clone)]
pub struct Scheduler {
    method: Arc<dyn Method>,
}

impl Scheduler {
    /// Computes the noise levels. The configuration may have been written for any class.
    ///
    /// # Errors
    /// [`Error::Config`] for values that cannot be right, [`Error::Unsupported`] for those that mean something this
    /// crate does not compute.
    pub fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        config.check(algorithm)?;
        Ok(Self { method: algorithm.method(config)? })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.method.trained().algorithm
    }

    /// The meaning that the model's output is taken to have.
    #[must_use]
    pub fn prediction_type(&self) -> PredictionType {
        self.method.trained().prediction
    }

    /// a_t (diffusers' `alphas_cumprod`) for every timestep of training.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.method.trained().alphas
    }

    /// The timestep at which a share of the noise schedule has been left behind, for [`Schedule::split`]:
    /// `round(T − share · T)`, halves to even, of T timesteps.
    #[must_use]
    pub fn timestep_after(&self, share: f64) -> f32 {
        let train_steps = self.method.trained().steps() as f64;
        (train_steps - share * train_steps).round_ties_even() as f32
    }

    /// The list of steps.
    ///
    /// `eta`, in `[0, 1]`, is the stochasticity of DDIM and TCD; the other algorithms ignore it, as diffusers'
    /// pipelines do. With a `strength`, in `(0, 1]`, the schedule starts late, for an image to start from: TCD and
    /// LCM choose their steps among the first part of the timesteps they were distilled on (diffusers'
    /// `set_timesteps(strength=...)`), everything else leaves out steps at the start ([`Schedule::tail`]).
    ///
    /// # Errors
    /// Any of [`Error::StepCount`], [`Error::Eta`], [`Error::Strength`], [`Error::TimestepsRefused`],
    /// [`Error::NoTimesteps`], [`Error::TimestepRange`], [`Error::NotDescending`], [`Error::SigmasRefused`],
    /// [`Error::Sigmas`], [`Error::NoSignal`], [`Error::NotFinite`].
    pub fn schedule(&self, steps: &Steps, eta: f64, strength: Option<f64>) -> Result<Schedule, Error> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Eta { given: eta });
        }
        let strength = strength.unwrap_or(1.0);
        check_strength(strength)?;
        self.method.schedule(steps, eta, strength)
    }

    /// `count` steps that start at the share `level` of the noise schedule, in `(0, 1]`, for an image to start from: at
    /// the timesteps `round(T · level · (count − i)/count) − 1` with i from 0, halves to even. At 1 they are those of trailing
    /// spacing.
    ///
    /// The image enters by [`Step::add_noise`] of the first step. Each step leads to the next timestep of the list: so DDIM
    /// and Euler ancestral do it too, which take no explicit timesteps otherwise.
    ///
    /// # Errors
    /// [`Error::Eta`]; [`Error::Level`] outside `(0, 1]`, and where there are fewer timesteps below it than steps;
    /// [`Error::TimestepsRefused`] by UniPC and with Karras sigmas, whose timesteps follow from their number; and what
    /// [`schedule`](Self::schedule) says of any.
    pub fn schedule_below(&self, level: f64, count: usize, eta: f64) -> Result<Schedule, Error> {
        if !(0.0..=1.0).contains(&eta) {
            return Err(Error::Eta { given: eta });
        }
        let trained = self.method.trained();
        trained.check_count_in_training(count)?;
        let timesteps = if level > 0.0 && level <= 1.0 { below(level, trained.steps(), count) } else { None };
        let timesteps = timesteps.ok_or(Error::Level { given: level, count })?;
        self.method.schedule_at(timesteps, eta)
    }
}

/// `count` timesteps from the share `level` of all down; `None` where they are not that many.
fn below(level: f64, train_steps: usize, count: usize) -> Option<Vec<usize>> {
    let top = train_steps as f64 * level;
    let timestep = |i: usize| {
        let rounded = (top * (count - i) as f64 / count as f64).round_ties_even();
        (rounded as usize).checked_sub(1)
    };
    let timesteps: Vec<usize> = (0..count).map(timestep).collect::<Option<_>>()?;
    timesteps.windows(2).all(|pair| pair[1] < pair[0]).then_some(timesteps)
}

/// The steps from noise to image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// The factor by which standard normal noise is multiplied to make the first latent: 1 except in sigma space.
    pub init_noise_sigma: f32,
    /// The steps, noisiest first, one for each evaluation of the model: for the algorithms that evaluate it twice in a
    /// step, more than were asked for.
    pub steps: Vec<Step>,
    /// For each step that looks back, what it is where only 0, 1, ... steps were taken before it. Empty for others.
    beginnings: Vec<Vec<Step>>,
    /// The number of steps as a request counts them.
    count: usize,
    /// The number of evaluations that go with each of them that is left out at the start.
    evaluations: usize,
}

impl Schedule {
    /// The schedule of an algorithm that needs no past.
    pub(crate) fn new(init_noise_sigma: f32, steps: Vec<Step>) -> Result<Self, Error> {
        let (beginnings, count) = (vec![Vec::new(); steps.len()], steps.len());
        Self { init_noise_sigma, steps, beginnings, count, evaluations: 1 }.finite()
    }

    /// The schedule of a multistep algorithm: `step(i, known)` is the step at index `i` of `count` where `known` steps
    /// were taken before it, of which it may look back on [`Linear::REACH`]. With more than that it is always the same.
    pub(crate) fn multistep(count: usize, step: impl Fn(usize, usize) -> Step) -> Result<Self, Error> {
        Self::multistep_over(Linear::REACH, count, step)
    }

    /// The same for steps that are always the same only with more than `reach` before them.
    pub(crate) fn multistep_over(
        reach: usize,
        count: usize,
        step: impl Fn(usize, usize) -> Step,
    ) -> Result<Self, Error> {
        let beginning = |i: usize| (0..i.min(reach + 1)).map(|known| step(i, known)).collect();
        Self {
            init_noise_sigma: 1.0,
            steps: (0..count).map(|i| step(i, i)).collect(),
            beginnings: (0..count).map(beginning).collect(),
            count,
            evaluations: 1,
        }
        .finite()
    }

    /// The schedule of an algorithm in sigma space that evaluates the model twice in each of `count` steps but the last:
    /// `evaluation(i, known)` as in [`multistep`](Self::multistep), the first of a step at every even index.
    pub(crate) fn in_pairs(
        init_noise_sigma: f32,
        count: usize,
        evaluation: impl Fn(usize, usize) -> Step,
    ) -> Result<Self, Error> {
        let schedule = Self::multistep(2 * count - 1, evaluation)?;
        Ok(Self { init_noise_sigma, count, evaluations: 2, ..schedule })
    }

    /// The schedule as one of `count` steps, although it evaluates the model more often.
    pub(crate) fn counted(self, count: usize) -> Self {
        Self { count, ..self }
    }

    fn finite(self) -> Result<Self, Error> {
        let mut steps = self.steps.iter().chain(self.beginnings.iter().flatten());
        match steps.find(|step| !step.forms().all(Linear::is_finite)) {
            Some(step) => Err(Error::NotFinite { t: step.t }),
            None => Ok(self),
        }
    }

    /// An empty history, for the steps to fill and to look back on.
    #[must_use]
    pub fn history<S: Sample>(&self) -> History<S> {
        History::for_steps(&self.steps)
    }

    /// Each of the steps as it is where nothing is known of the steps before it: what to take for one step out of its
    /// turn.
    pub fn alone(&self) -> impl Iterator<Item = Step> {
        let beginning = |i: usize| self.beginnings.get(i).and_then(|fewer| fewer.first());
        self.steps.iter().enumerate().map(move |(i, step)| *beginning(i).unwrap_or(step))
    }

    /// The number of steps as a request counts them: N of which a strength is the share.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The last ⌊N·strength⌋ steps of N: what diffusers' image-to-image pipelines keep, for any algorithm. The first of
    /// them look back on fewer steps.
    ///
    /// The image to start from enters by [`Step::add_noise`] of the first step left.
    ///
    /// # Errors
    /// [`Error::Strength`] if `strength` is outside `(0, 1]` or no step is left.
    pub fn tail(self, strength: f64) -> Result<Self, Error> {
        check_strength(strength)?;
        let kept = (self.count as f64 * strength) as usize;
        if kept == 0 {
            return Err(Error::Strength { given: strength });
        }
        let left_out = (self.count - kept) * self.evaluations;
        Ok(Self { count: kept, ..self.after(left_out) })
    }

    /// The steps from `timestep` up, and those below it, for two models to take: what diffusers' `denoising_end` and
    /// `denoising_start` leave of a schedule, for any algorithm. Either may have none. The first steps of the second part
    /// look back on none of the first.
    ///
    /// Where the model is evaluated twice in a step and the first part ends between the two, the second part begins with
    /// the first evaluation of that step again.
    #[must_use]
    pub fn split(self, timestep: f32) -> (Self, Self) {
        let first = self.steps.iter().take_while(|step| step.t >= timestep).count();
        let between = (self.steps.len() - first).is_multiple_of(2) && first > 0;
        let again = usize::from(self.evaluations == 2 && between);
        let second = self.clone().after(first - again);
        let second = Self { count: second.steps.len().div_ceil(second.evaluations), ..second };
        let mut whole = self;
        whole.steps.truncate(first);
        whole.beginnings.truncate(first);
        (Self { count: first.div_ceil(whole.evaluations), ..whole }, second)
    }

    /// The schedule without so many evaluations at its start. The first of those left look back on fewer.
    fn after(mut self, left_out: usize) -> Self {
        self.steps.drain(..left_out);
        self.beginnings.drain(..left_out.min(self.beginnings.len()));
        for (known, (step, fewer)) in self.steps.iter_mut().zip(&mut self.beginnings).enumerate() {
            *step = *fewer.get(known).unwrap_or(step);
            fewer.truncate(known);
        }
        self
    }
}

fn check_strength(given: f64) -> Result<(), Error> {
    if given > 0.0 && given <= 1.0 { Ok(()) } else { Err(Error::Strength { given }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_spread_over_all_steps() {
        assert_eq!(below(1.0, 1000, 4), Some(vec![999, 749, 499, 249]));
        assert_eq!(below(1.0, 1000, 3), Some(vec![999, 666, 332]));
        assert_eq!(below(0.5, 1000, 2), Some(vec![499, 249]));
        assert_eq!(below(0.6, 1000, 1), Some(vec![599]));
        assert_eq!(below(0.001, 1000, 1), Some(vec![0]));
        assert_eq!(below(0.005, 1000, 2), Some(vec![4, 1]), "2.5 goes to the even 2");
        assert_eq!(below(0.001, 1000, 2), None);
        assert_eq!(below(0.0001, 1000, 1), None);
    }
}
