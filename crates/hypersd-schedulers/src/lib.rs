//! Diffusion schedulers as data: DDIM, DDPM, PNDM, TCD, LCM, PeRFlow, Euler, Heun, DPM-Solver++, UniPC,
//! equal to diffusers, for any tensor type.
//!
//! A [`Scheduler`] is an [`Algorithm`] with the noise levels of a [`SchedulerConfig`]. It turns a number of steps
//! into a [`Schedule`]: a list of [`Step`]s that hold every coefficient. A step is advanced by a linear combination
//! of the latent, the model's output and perhaps noise, over the three methods of [`Sample`]. Nothing has hidden state:
//! the noise and, for DPM-Solver++ and UniPC, the [`History`] of the steps before are arguments.
//!
//! The crate runs no model, draws no noise and reads no file.
//!
//! ```
//! use hypersd_schedulers::{Algorithm, Scheduler, SchedulerConfig, Spacing, Steps};
//!
//! // Four steps as the 4-step Hyper-SD LoRA wants them.
//! let config = SchedulerConfig {
//!     timestep_spacing: Some(Spacing::Trailing),
//!     ..SchedulerConfig::stable_diffusion()
//! };
//! let scheduler = Scheduler::new(Algorithm::Ddim, &config)?;
//! let schedule = scheduler.schedule(&Steps::Count(4), 0.0, None)?;
//! assert_eq!(schedule.steps.iter().map(|step| step.t).collect::<Vec<_>>(), [999.0, 749.0, 499.0, 249.0]);
//!
//! # let model = |input: &[f32], _t: f32| input.to_vec();
//! # let standard_normal = || vec![0.5, -0.5];
//! let mut x: Vec<f32> = standard_normal().iter().map(|n| n * schedule.init_noise_sigma).collect();
//! let mut history = schedule.history();
//! for step in &schedule.steps {
//!     let input: Vec<f32> = x.iter().map(|x| x * step.input_scale()).collect();
//!     let output = model(&input, step.t);
//!     let noise = step.noisy().then(standard_normal);
//!     x = step.advance(&x, &output, noise.as_ref(), &mut history)?.x;
//! }
//! # assert!(x.iter().all(|x| x.is_finite()));
//! # Ok::<(), hypersd_schedulers::Error>(())
//! ```
//!
//! # Which Hyper-SD file wants which
//!
//! | file | algorithm | spacing | steps | eta | guidance |
//! |---|---|---|---|---|---|
//! | 2-, 4-, 8-step LoRA | [`Ddim`](Algorithm::Ddim) | trailing | as the file says | 0 | none |
//! | 8-, 12-step CFG LoRA | [`Ddim`](Algorithm::Ddim) | trailing | as the file says | 0 | 5 to 8 |
//! | 1-step (unified) LoRA | [`Tcd`](Algorithm::Tcd) | its own | 1 to 8 | 1.0; less keeps more detail over several steps | none |
//! | 1-step SDXL UNet | [`Lcm`](Algorithm::Lcm) | timesteps `[800]` | 1 | none | none |
//!
//! Leading spacing, which Stable Diffusion's own configuration implies, blurs what these files make.
//!
//! # Where it departs from diffusers
//!
//! Timesteps are equal and latents agree to a few units in the last place of f32, for every step count (a Karras
//! timestep of DPM-Solver++ may round the other way where it is a tie: one of the 1000 counts). Knowingly different:
//!
//! - Trailing spacing has N timesteps. diffusers has N + 1 for 62 step counts (61, 103, 121, …), the last being −1.
//! - The last step of a list that `strength` has cut is a last step: no noise after it.
//! - UniPC and the third order of DPM-Solver++ have coefficients in f64. diffusers' are in f32, and their roundings, which
//!   differ between processors, are divided by powers of small steps: 1e-5 of a latent in 50 steps, 1e-6 in 8.
//! - What is NaN, infinite or an index error there is an error here, or the limit where rounding alone is to blame
//!   (DDIM at eta 1 from zero signal).
//! - The stochastic DPM-Solver of two evaluations takes noise from its caller, draw by draw, and no Brownian motion.
//! - PeRFlow is its publisher's: diffusers has none.
//! - Dynamic thresholding, Lu and flow sigmas, UniPC for the noise, PNDM with Runge-Kutta steps, and solver orders above 3
//!   are refused.

pub mod align_your_steps;

mod algorithm;
mod alphas;
mod beta;
mod class;
mod config;
mod distilled;
mod error;
mod history;
mod linear;
mod refuse;
mod sample;
mod schedule;
mod sigma_space;
mod sigmas;
mod spacing;
mod step;
mod trained;

pub use algorithm::Algorithm;
pub use class::{ClassNoise, Correction};
pub use config::{BetaSchedule, FinalSigma, PredictionType, SchedulerConfig, Spacing};
pub use error::Error;
pub use history::History;
pub use linear::Linear;
pub use sample::Sample;
pub use schedule::{Schedule, Scheduler, Steps};
pub use step::{Advanced, Level, Step};
