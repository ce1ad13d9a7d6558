//! A configuration with its gaps filled by the defaults of the diffusers class that computes the algorithm.

use crate::{Algorithm, BetaSchedule, Error, FinalSigma, PredictionType, SchedulerConfig, Spacing, alphas};

/// The most timesteps of training that a configuration may ask for: far above any model, far below what would
/// fill the memory.
const MOST_TRAIN_TIMESTEPS: usize = 100_000;

/// What the algorithms read.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) algorithm: Algorithm,
    /// a_t for t in 0..T, the share of signal in the variance.
    pub(crate) alphas: Vec<f32>,
    pub(crate) prediction: PredictionType,
    pub(crate) spacing: Spacing,
    pub(crate) steps_offset: usize,
    pub(crate) original_steps: usize,
    pub(crate) timestep_scaling: f64,
    pub(crate) clip: Option<f32>,
    pub(crate) set_alpha_to_one: bool,
    pub(crate) karras: bool,
    pub(crate) sigma_min: Option<f64>,
    pub(crate) sigma_max: Option<f64>,
    pub(crate) final_sigma: FinalSigma,
    pub(crate) lower_order_final: bool,
    pub(crate) euler_at_final: bool,
    pub(crate) lambda_min: f64,
    pub(crate) cosine_betas: bool,
}

impl Settings {
    pub(crate) fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error> {
        use Algorithm::{Ddim, Dpmpp2m, Euler, EulerAncestral, Lcm};
        refuse_unsupported(algorithm, config)?;
        let alphas = noise_levels(algorithm, config)?;
        check_ranges(algorithm, config, alphas.len())?;

        let clip_default = algorithm == Ddim;
        let clips = matches!(algorithm, Ddim | Lcm) && config.clip_sample.unwrap_or(clip_default);
        let spacing_default = if in_sigmas(algorithm) { Spacing::Linspace } else { Spacing::Leading };
        Ok(Self {
            algorithm,
            alphas,
            prediction: config.prediction_type.unwrap_or(PredictionType::Epsilon),
            spacing: config.timestep_spacing.unwrap_or(spacing_default),
            steps_offset: config.steps_offset.unwrap_or(0),
            original_steps: config.original_inference_steps.unwrap_or(50),
            timestep_scaling: config.timestep_scaling.unwrap_or(10.0),
            clip: clips.then_some(config.clip_sample_range.unwrap_or(1.0) as f32),
            set_alpha_to_one: config.set_alpha_to_one.unwrap_or(true),
            karras: matches!(algorithm, Euler | Dpmpp2m) && config.use_karras_sigmas.unwrap_or(false),
            sigma_min: config.sigma_min,
            sigma_max: config.sigma_max,
            // Euler ancestral has no such field: it always ends at zero.
            final_sigma: config
                .final_sigmas_type
                .filter(|_| algorithm != EulerAncestral)
                .unwrap_or(FinalSigma::Zero),
            lower_order_final: config.lower_order_final.unwrap_or(true),
            euler_at_final: config.euler_at_final.unwrap_or(false),
            lambda_min: config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY),
            cosine_betas: config.beta_schedule == Some(BetaSchedule::SquaredCosCapV2),
        })
    }

    /// T.
    pub(crate) fn train_steps(&self) -> usize {
        self.alphas.len()
    }
}

/// TCD and LCM: models that were distilled to few steps.
fn distilled(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Tcd | Algorithm::Lcm)
}

/// The algorithms that work from a table of sigmas.
fn in_sigmas(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Euler | Algorithm::EulerAncestral | Algorithm::Dpmpp2m)
}

/// a_t for every timestep of training.
fn noise_levels(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Vec<f32>, Error> {
    let count = config.num_train_timesteps.unwrap_or(1000);
    check(count, (2..=MOST_TRAIN_TIMESTEPS).contains(&count), "num_train_timesteps", "2 to 100000")?;
    let (schedule, start, end) = if distilled(algorithm) {
        (BetaSchedule::ScaledLinear, 0.00085, 0.012)
    } else {
        (BetaSchedule::Linear, 0.0001, 0.02)
    };
    let betas = config.trained_betas.clone().unwrap_or_else(|| {
        let (start, end) = (config.beta_start.unwrap_or(start), config.beta_end.unwrap_or(end));
        alphas::betas(config.beta_schedule.unwrap_or(schedule), start, end, count)
    });
    check(betas.len(), betas.len() == count, "the length of trained_betas", "num_train_timesteps")?;
    let zero_snr = config.rescale_betas_zero_snr.unwrap_or(false);
    let mut alphas = alphas::alphas_cumprod(&betas, zero_snr)?;
    if zero_snr && in_sigmas(algorithm) {
        // diffusers keeps the first sigma finite (4096) instead of refusing epsilon predictions.
        alphas[count - 1] = 2f32.powi(-24);
    }
    Ok(alphas)
}

fn check_ranges(algorithm: Algorithm, config: &SchedulerConfig, train_steps: usize) -> Result<(), Error> {
    if distilled(algorithm) {
        let steps = config.original_inference_steps.unwrap_or(50);
        let fits = (1..=train_steps).contains(&steps);
        check(steps, fits, "original_inference_steps", "1 to num_train_timesteps")?;
    }
    if let Some(offset) = config.steps_offset {
        check(offset, offset < train_steps, "steps_offset", "less than num_train_timesteps")?;
    }
    for (field, value) in [
        ("timestep_scaling", config.timestep_scaling),
        ("clip_sample_range", config.clip_sample_range),
        ("sigma_min", config.sigma_min),
        ("sigma_max", config.sigma_max),
    ] {
        if let Some(value) = value {
            check(value, value.is_finite() && value > 0.0, field, "a number above 0")?;
        }
    }
    Ok(())
}

fn check(
    given: impl ToString,
    right: bool,
    field: &'static str,
    expected: &'static str,
) -> Result<(), Error> {
    if right { Ok(()) } else { Err(Error::Config { field, given: given.to_string(), expected }) }
}

/// What diffusers has and this crate has not, where the algorithm would read it.
fn refuse_unsupported(algorithm: Algorithm, config: &SchedulerConfig) -> Result<(), Error> {
    use Algorithm::{Dpmpp2m, Euler};
    let refuse = |field, given: &dyn ToString, instead| {
        Err(Error::Unsupported { algorithm, field, given: given.to_string(), instead })
    };
    if config.thresholding == Some(true) {
        return refuse("thresholding", &true, "it is not meant for latents: set it to false");
    }
    if matches!(algorithm, Euler | Dpmpp2m) {
        for (field, value) in [
            ("use_exponential_sigmas", config.use_exponential_sigmas),
            ("use_beta_sigmas", config.use_beta_sigmas),
        ] {
            if value == Some(true) {
                return refuse(field, &true, "set it to false, or use_karras_sigmas instead");
            }
        }
    }
    let choices: &[(&'static str, &Option<String>, &[&str], &'static str)] = match algorithm {
        Euler => &[
            ("interpolation_type", &config.interpolation_type, &["linear"], "set it to linear"),
            ("timestep_type", &config.timestep_type, &["discrete"], "set it to discrete"),
        ],
        Dpmpp2m => &[
            ("algorithm_type", &config.algorithm_type, &["dpmsolver++", "deis"], "set it to dpmsolver++"),
            ("solver_type", &config.solver_type, &["midpoint", "logrho", "bh1", "bh2"], "set it to midpoint"),
            ("variance_type", &config.variance_type, &[], "models that predict a variance are not supported"),
        ],
        _ => &[],
    };
    for (field, value, known, instead) in choices {
        if let Some(value) = value
            && !known.contains(&value.as_str())
        {
            return refuse(field, value, instead);
        }
    }
    if algorithm == Dpmpp2m {
        for (field, value) in
            [("use_lu_lambdas", config.use_lu_lambdas), ("use_flow_sigmas", config.use_flow_sigmas)]
        {
            if value == Some(true) {
                return refuse(field, &true, "set it to false");
            }
        }
        if let Some(order) = config.solver_order.filter(|&order| order != 2) {
            return refuse("solver_order", &order, "set it to 2");
        }
    }
    Ok(())
}
