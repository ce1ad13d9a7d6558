//! One error type, every variant with what was given, what was expected, and the way on.

use crate::{Algorithm, algorithm::names};

/// A fault in a configuration, a request for a schedule, or the arguments of a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheduler name that is not one of [`Algorithm::ALL`].
    #[error("unknown scheduler {given:?}; expected one of {}", names())]
    UnknownAlgorithm {
        /// The name.
        given: String,
    },
    /// A timestep spacing that is not one of [`Spacing`](crate::Spacing).
    #[error("unknown timestep spacing {given:?}; expected leading, trailing or linspace")]
    UnknownSpacing {
        /// The name.
        given: String,
    },
    /// A configuration written for a class that this crate has no algorithm for (or for none at all).
    ///
    /// The configuration itself is usable: name the algorithm, as `X.from_config(other.config)` does.
    #[error(
        "no scheduler here for the configuration's _class_name {}; build one of {} from it instead",
        class.as_deref().unwrap_or("(absent)"),
        names()
    )]
    UnknownClass {
        /// `_class_name`.
        class: Option<String>,
    },
    /// A `scheduler_config.json` that is not JSON, or has a field of another type.
    #[error("scheduler configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A field of the configuration that cannot be right.
    #[error("scheduler configuration: {field} is {given}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        given: String,
        /// The values it may have.
        expected: &'static str,
    },
    /// A field of the configuration that means something else than what this crate computes.
    #[error("scheduler configuration: {field} {given} is not supported by {algorithm}; {instead}")]
    Unsupported {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// The field.
        field: &'static str,
        /// Its value.
        given: String,
        /// The way on.
        instead: &'static str,
    },
    /// Too few or too many steps.
    #[error("{algorithm} takes {least} to {most} steps ({limit}), found {given}")]
    StepCount {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// The number of steps asked for.
        given: usize,
        /// The least it can do.
        least: usize,
        /// The most it can do.
        most: usize,
        /// Where these numbers come from.
        limit: &'static str,
    },
    /// `eta` outside `[0, 1]`, or not a number.
    #[error("eta is {given}, expected a number from 0 (deterministic) to 1 (fully stochastic)")]
    Eta {
        /// The value.
        given: f64,
    },
    /// `strength` outside `(0, 1]`, or not a number, or so small that no step is left.
    #[error("strength is {given}, expected a number above 0, at most 1, that leaves one step or more")]
    Strength {
        /// The value.
        given: f64,
    },
    /// A share of the noise schedule outside `(0, 1]`, or with fewer timesteps below it than steps.
    #[error(
        "the noise level is {given}, expected a number above 0, at most 1, with a timestep of its own below it for each \
         of {count} steps; use a higher level or fewer steps"
    )]
    Level {
        /// The level.
        given: f64,
        /// The number of steps.
        count: usize,
    },
    /// Explicit timesteps for an algorithm (or a configuration) whose timesteps follow from the step count.
    #[error("{algorithm} takes no explicit timesteps{reason}; give the number of steps instead")]
    TimestepsRefused {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// Why, where it is not the algorithm itself.
        reason: &'static str,
    },
    /// Explicit sigmas for an algorithm that does not take any.
    #[error("{algorithm} takes no explicit sigmas, expected the number of steps; give them to euler instead")]
    SigmasRefused {
        /// The algorithm asked for.
        algorithm: Algorithm,
    },
    /// Explicit sigmas between which no steps lead from noise to an image.
    #[error(
        "the sigmas are {given:?}, expected two or more that strictly descend, the last of them 0 or more"
    )]
    Sigmas {
        /// The sigmas.
        given: Vec<f32>,
    },
    /// An empty list of explicit timesteps.
    #[error("no timesteps given, expected at least one")]
    NoTimesteps,
    /// A timestep the model was not trained for.
    #[error("timestep {given} is out of range, expected less than {end} (num_train_timesteps)")]
    TimestepRange {
        /// The timestep.
        given: usize,
        /// The end of the range.
        end: usize,
    },
    /// Timesteps that do not strictly descend.
    #[error("timestep {given} follows {previous}, expected strictly descending timesteps")]
    NotDescending {
        /// The timestep.
        given: usize,
        /// The one before it.
        previous: usize,
    },
    /// An epsilon-predicting model asked to start from pure noise, where x0 = (x − √(1−a)·eps)/√a divides by zero.
    #[error(
        "timestep {t} has no signal (rescale_betas_zero_snr), from which an epsilon prediction cannot find x0; \
         use a v_prediction model, {}rescale_betas_zero_snr false",
        if algorithm.has_spacing() { "leading spacing, or " } else { "or " }
    )]
    NoSignal {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// The timestep.
        t: usize,
    },
    /// A schedule with a coefficient that is infinite or not a number.
    #[error(
        "the step at timestep {t} has no finite coefficients, expected noise levels that fall from step to step; \
         use fewer steps, or betas and sigmas nearer to the defaults"
    )]
    NotFinite {
        /// The step's timestep.
        t: f32,
    },
    /// A step that draws noise was advanced without any.
    #[error("the step at timestep {t} adds noise, found none; draw it where step.noisy()")]
    MissingNoise {
        /// The step's timestep.
        t: f32,
    },
    /// A multistep step was advanced with a history that lacks steps before it.
    #[error(
        "the step at timestep {t} looks back on {expected} earlier steps, found fewer; advance the steps in turn with \
         one history of the schedule, or leave out those before with Schedule::tail"
    )]
    MissingHistory {
        /// The step's timestep.
        t: f32,
        /// The number of steps it looks back.
        expected: usize,
    },
    /// Samples of different shapes.
    #[error("{name} has shape {given:?}, expected {expected:?} as x has")]
    Shape {
        /// The argument.
        name: &'static str,
        /// Its shape.
        given: Vec<usize>,
        /// The shape of `x`.
        expected: Vec<usize>,
    },
}
