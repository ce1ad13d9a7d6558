//! `scheduler_config.json`, as far as the algorithms here read it.

use std::{fmt, str::FromStr};

use serde::Deserialize;

use crate::{Algorithm, Error, refuse};

/// The most timesteps of training that a configuration may ask for: far above any model, far below what would
/// fill the memory.
const MOST_TRAIN_TIMESTEPS: usize = 100_000;

/// The fields of a `scheduler_config.json`, under diffusers' names.
///
/// A field is `None` where the file does not have it (or has `null`). What that means depends on the algorithm
/// that is built from it, not on the class that wrote it: an SD1.5 configuration says nothing about
/// `timestep_spacing`, so DDIM built from it is `leading` and Euler is `linspace`, which is also what diffusers'
/// `X.from_config(other.config)` gives. Fields of other classes are ignored.
///
/// ```
/// use hypersd_schedulers::{SchedulerConfig, Spacing};
///
/// let config = SchedulerConfig::from_json(r#"{"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear",
///     "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1, "clip_sample": false}"#)?;
/// let trailing = SchedulerConfig { timestep_spacing: Some(Spacing::Trailing), ..config };
/// # Ok::<(), hypersd_schedulers::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct SchedulerConfig {
    /// The diffusers class that wrote the file.
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,

    // The noise of the training.
    /// T, the number of timesteps in training. Default 1000.
    pub num_train_timesteps: Option<usize>,
    /// The first beta. Default 0.0001; TCD and LCM 0.00085.
    pub beta_start: Option<f64>,
    /// The last beta. Default 0.02; TCD and LCM 0.012.
    pub beta_end: Option<f64>,
    /// The rise of betas from the first to the last. Default linear; TCD and LCM scaled linear.
    pub beta_schedule: Option<BetaSchedule>,
    /// All betas, instead of the three fields above.
    pub trained_betas: Option<Vec<f32>>,
    /// True to stretch the betas until the last timestep is pure noise. Default false.
    pub rescale_betas_zero_snr: Option<bool>,
    /// The meaning of the model's output. Default epsilon.
    pub prediction_type: Option<PredictionType>,

    // The choice of timesteps.
    /// The choice of timesteps. Default leading; linspace for the Euler family, DPM-Solver++ and UniPC. TCD and
    /// LCM do not read it.
    pub timestep_spacing: Option<Spacing>,
    /// Added to every timestep of leading spacing. Default 0.
    pub steps_offset: Option<usize>,
    /// TCD, LCM: the number of steps the model was distilled with. Default 50.
    pub original_inference_steps: Option<usize>,
    /// LCM: the timestep that T stands for where the model is asked: NitroFusion's shift. Default T, which is none.
    pub shifted_timestep: Option<usize>,
    /// PeRFlow: the number of windows that time is cut into. Default 4.
    pub num_time_windows: Option<usize>,
    /// LCM: the factor on t in the boundary scalings. Default 10.
    pub timestep_scaling: Option<f64>,

    // What happens to x0.
    /// DDIM, DDPM, LCM, Heun: whether x0 is clamped. Default true for DDIM and DDPM, false for the others.
    pub clip_sample: Option<bool>,
    /// The bound that it is clamped to. Default 1.
    pub clip_sample_range: Option<f64>,
    /// DDIM, PNDM: whether the step after the last timestep leads to a = 1, instead of the a of timestep 0. Default
    /// true for DDIM, false for PNDM.
    pub set_alpha_to_one: Option<bool>,
    /// Dynamic thresholding, which does not fit latents: refused where true.
    pub thresholding: Option<bool>,

    // Sigmas: Euler, Heun, DPM-Solver++ and UniPC.
    /// True to space sigmas as Karras et al. do. Default false.
    pub use_karras_sigmas: Option<bool>,
    /// The least sigma of such a spacing, instead of the schedule's.
    pub sigma_min: Option<f64>,
    /// The greatest sigma of such a spacing, instead of the schedule's.
    pub sigma_max: Option<f64>,
    /// The noise that the last step leads to. Default zero.
    pub final_sigmas_type: Option<FinalSigma>,
    /// True to space sigmas evenly in their logarithm. Default false.
    pub use_exponential_sigmas: Option<bool>,
    /// True to space sigmas at quantiles of a beta distribution. Default false.
    pub use_beta_sigmas: Option<bool>,
    /// Refused where true.
    pub use_lu_lambdas: Option<bool>,
    /// Refused where true.
    pub use_flow_sigmas: Option<bool>,
    /// Euler: refused unless `linear`.
    pub interpolation_type: Option<String>,
    /// Euler: refused unless `discrete`.
    pub timestep_type: Option<String>,

    // The multistep solvers: DPM-Solver++ and UniPC.
    /// The number of steps that a step is computed from, itself included: 1, 2 or 3. Default 2.
    pub solver_order: Option<usize>,
    /// UniPC: `bh1` or `bh2`, its two choices of B(h). Default `bh2`, as which diffusers also reads `midpoint`, `heun`
    /// and `logrho`. DPM-Solver++: refused unless `midpoint` (or `logrho`, `bh1`, `bh2`, which diffusers reads as that).
    pub solver_type: Option<String>,
    /// True where the last steps are of lower order. DPM-Solver++ heeds it with less than 15 steps. Default true.
    pub lower_order_final: Option<bool>,
    /// DPM-Solver++: `dpmsolver++` (or `deis`, which diffusers reads as that), or `sde-dpmsolver++`, for which
    /// [`Algorithm::of`] finds [`Dpmpp2mSde`](Algorithm::Dpmpp2mSde). Others are refused.
    pub algorithm_type: Option<String>,
    /// DPM-Solver++: whether the last step is of first order in any case. Default false.
    pub euler_at_final: Option<bool>,
    /// DPM-Solver++: the least lambda = ln(√a / √(1−a)) that timesteps may start at; diffusers recommends −5.1 for
    /// `squaredcos_cap_v2`. Default none.
    pub lambda_min_clipped: Option<f64>,
    /// DPM-Solver++: refused where present, for it is of models that also predict a variance. DDPM: `fixed_small` (the
    /// default), `fixed_small_log` or `fixed_large`.
    pub variance_type: Option<String>,
    /// PNDM: whether it begins without Runge-Kutta steps. Refused unless true; false is the default of its class, but
    /// Stable Diffusion's files say true.
    pub skip_prk_steps: Option<bool>,
    /// UniPC: the steps, from 0, whose result the model's next output does not correct. Default none.
    pub disable_corrector: Option<Vec<usize>>,
    /// UniPC: refused where false, for it would solve for the noise.
    pub predict_x0: Option<bool>,
}

impl SchedulerConfig {
    /// Reads the text of a `scheduler_config.json`.
    ///
    /// Python writes `-Infinity` where JSON has no word for it (every `DPMSolverMultistepScheduler` does, as
    /// `lambda_min_clipped`); it is read as `null` here, as are `Infinity` and `NaN`.
    ///
    /// # Errors
    /// [`Error::Json`] for text that is not JSON and for fields of a wrong type or with a value that is not one of
    /// the choices.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        Ok(serde_json::from_str(&without_bare_floats(text))?)
    }

    /// The configuration that Stable Diffusion 1.x, 2.x and XL share, for models that come without a configuration.
    ///
    /// Values: `scheduler/scheduler_config.json` of SD1.5, which SDXL's repeats.
    #[must_use]
    pub fn stable_diffusion() -> Self {
        Self {
            num_train_timesteps: Some(1000),
            beta_start: Some(0.00085),
            beta_end: Some(0.012),
            beta_schedule: Some(BetaSchedule::ScaledLinear),
            steps_offset: Some(1),
            set_alpha_to_one: Some(false),
            clip_sample: Some(false),
            skip_prk_steps: Some(true),
            ..Self::default()
        }
    }

    /// T.
    pub(crate) fn train_steps(&self) -> usize {
        self.num_train_timesteps.unwrap_or(1000)
    }

    /// Refuses what is wrong for every algorithm, whether it reads the field or not.
    pub(crate) fn check(&self, algorithm: Algorithm) -> Result<(), Error> {
        let latents = "it is not meant for latents: set it to false";
        refuse::switches(algorithm, &[("thresholding", self.thresholding)], latents)?;
        let count = self.train_steps();
        check(count, (2..=MOST_TRAIN_TIMESTEPS).contains(&count), "num_train_timesteps", "2 to 100000")?;
        if let Some(offset) = self.steps_offset {
            check(offset, offset < count, "steps_offset", "less than num_train_timesteps")?;
        }
        for (field, value) in [
            ("timestep_scaling", self.timestep_scaling),
            ("clip_sample_range", self.clip_sample_range),
            ("sigma_min", self.sigma_min),
            ("sigma_max", self.sigma_max),
        ] {
            if let Some(value) = value {
                check(value, value.is_finite() && value > 0.0, field, "a number above 0")?;
            }
        }
        Ok(())
    }
}

/// An error about `field` unless it is `right`.
pub(crate) fn check(
    given: impl ToString,
    right: bool,
    field: &'static str,
    expected: &'static str,
) -> Result<(), Error> {
    if right { Ok(()) } else { Err(Error::Config { field, given: given.to_string(), expected }) }
}

/// The text with `Infinity`, `-Infinity` and `NaN` outside strings replaced by `null`.
fn without_bare_floats(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Every second piece between quotes is inside a string, as long as escaped quotes do not count as quotes.
    let mut rest = text;
    while let Some(quote) = rest.find('"') {
        let (outside, string) = rest.split_at(quote);
        out += &replace_bare_floats(outside);
        let end = string_end(string);
        out += &string[..end];
        rest = &string[end..];
    }
    out + &replace_bare_floats(rest)
}

fn replace_bare_floats(json: &str) -> String {
    json.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null")
}

/// The length of the string literal that `text` begins with, quotes included.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

/// The rise of betas from `beta_start` to `beta_end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BetaSchedule {
    /// Evenly.
    Linear,
    /// Their square roots evenly: latent diffusion.
    ScaledLinear,
    /// From a squared cosine, [arXiv:2102.09672](https://arxiv.org/abs/2102.09672); start and end are not read.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosCapV2,
}

/// The meaning of the model's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// √a·noise − √(1−a)·x0.
    VPrediction,
    /// x0.
    #[serde(alias = "original_sample")]
    Sample,
    /// The noise with which DDIM would go from the begin of PeRFlow's window to its end. For PeRFlow alone.
    DdimEps,
    /// The noise that takes the end of PeRFlow's window to its begin. For PeRFlow alone.
    DiffEps,
}

/// The name in `scheduler_config.json`.
impl fmt::Display for PredictionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
            Self::Sample => "sample",
            Self::DdimEps => "ddim_eps",
            Self::DiffEps => "diff_eps",
        })
    }
}

/// The choice of timesteps: table 2 of [arXiv:2305.08891](https://arxiv.org/abs/2305.08891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Spacing {
    /// Multiples of T/N from 0 up: 751, 501, 251, 1.
    Leading,
    /// Multiples of T/N from the end down: 999, 749, 499, 249.
    Trailing,
    /// Evenly, both ends included: 999, 666, 333, 0.
    Linspace,
}

impl fmt::Display for Spacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Linspace => "linspace",
        })
    }
}

impl FromStr for Spacing {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Leading, Self::Trailing, Self::Linspace]
            .into_iter()
            .find(|spacing| spacing.to_string() == name)
            .ok_or_else(|| Error::UnknownSpacing { given: name.to_owned() })
    }
}

/// The noise that the last step in sigma space leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinalSigma {
    /// To the clean image.
    Zero,
    /// To the noise of timestep 0.
    SigmaMin,
}
