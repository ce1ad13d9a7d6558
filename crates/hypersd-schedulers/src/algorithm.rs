//! The algorithms by name.

use std::{fmt, str::FromStr};

use crate::{Error, SchedulerConfig};

/// How a latent gets from one noise level to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Denoising diffusion implicit models, [arXiv:2010.02502](https://arxiv.org/abs/2010.02502).
    Ddim,
    /// Trajectory consistency distillation, [arXiv:2402.19159](https://arxiv.org/abs/2402.19159).
    Tcd,
    /// Latent consistency models, [arXiv:2310.04378](https://arxiv.org/abs/2310.04378).
    Lcm,
    /// Euler's method in sigma space, algorithm 2 of [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn.
    Euler,
    /// Euler's method with ancestral noise.
    EulerAncestral,
    /// The second-order multistep DPM-Solver++, [arXiv:2211.01095](https://arxiv.org/abs/2211.01095).
    Dpmpp2m,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ddim, Self::Tcd, Self::Lcm, Self::Euler, Self::EulerAncestral, Self::Dpmpp2m];

    /// The name that [`FromStr`] reads: `ddim`, `tcd`, `lcm`, `euler`, `euler-a`, `dpmpp-2m`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Tcd => "tcd",
            Self::Lcm => "lcm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::Dpmpp2m => "dpmpp-2m",
        }
    }

    /// The diffusers class that computes it.
    #[must_use]
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Tcd => "TCDScheduler",
            Self::Lcm => "LCMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Dpmpp2m => "DPMSolverMultistepScheduler",
        }
    }

    /// The algorithm that a configuration was written for, from its `_class_name`.
    ///
    /// # Errors
    /// [`Error::UnknownClass`], naming the choices, for a class that is none of ours: SD1.5 ships a
    /// `PNDMScheduler`'s, for example.
    pub fn of(config: &SchedulerConfig) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| config.class_name.as_deref() == Some(algorithm.class_name()))
            .ok_or_else(|| Error::UnknownClass { class: config.class_name.clone() })
    }

    /// Whether `eta` changes what it does. The others take any valid `eta` and ignore it, as diffusers'
    /// pipelines do.
    #[must_use]
    pub fn has_eta(self) -> bool {
        matches!(self, Self::Ddim | Self::Tcd)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Error::UnknownAlgorithm { given: name.to_owned() })
    }
}

/// The names, for messages.
pub(crate) fn names() -> String {
    Algorithm::ALL.map(Algorithm::name).join(", ")
}
