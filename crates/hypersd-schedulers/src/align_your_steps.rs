//! Schedules of ten steps that were optimised for their models, from "Align Your Steps",
//! [arXiv:2404.14507](https://arxiv.org/abs/2404.14507), as published and as diffusers has them.
//!
//! ```
//! use hypersd_schedulers::{Algorithm, Scheduler, SchedulerConfig, Steps, align_your_steps};
//!
//! let scheduler = Scheduler::new(Algorithm::Euler, &SchedulerConfig::stable_diffusion())?;
//! let steps = Steps::Sigmas(align_your_steps::SDXL_SIGMAS.to_vec());
//! assert_eq!(scheduler.schedule(&steps, 0.0, None)?.steps.len(), 10);
//! # Ok::<(), hypersd_schedulers::Error>(())
//! ```

/// For Stable Diffusion 1.5: the timesteps nearest to the sigmas, for algorithms that take timesteps.
pub const SD15_TIMESTEPS: [usize; 10] = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24];
/// For Stable Diffusion 1.5: sigmas, for [`Steps::Sigmas`](crate::Steps::Sigmas).
pub const SD15_SIGMAS: [f32; 11] =
    [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0];
/// For SDXL: the timesteps nearest to the sigmas, for algorithms that take timesteps.
pub const SDXL_TIMESTEPS: [usize; 10] = [999, 845, 730, 587, 443, 310, 193, 116, 53, 13];
/// For SDXL: sigmas, for [`Steps::Sigmas`](crate::Steps::Sigmas).
pub const SDXL_SIGMAS: [f32; 11] =
    [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.0];
