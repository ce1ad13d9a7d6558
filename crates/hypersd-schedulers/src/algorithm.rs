//! The algorithms: one file each, and one line each in the table below.

mod ddim;
mod ddpm;
mod dpmpp;
mod dpmpp_sde;
mod euler;
mod heun;
mod lcm;
mod perflow;
mod pndm;
mod tcd;
mod unipc;

use std::{fmt, str::FromStr, sync::Arc};

use crate::{Error, Schedule, SchedulerConfig, Steps, trained::Trained};

/// An algorithm with its part of a configuration read: what each of the files provides.
pub(crate) trait Method: fmt::Debug + Send + Sync {
    /// Reads the fields that mean something to the algorithm, fills gaps with the defaults of its diffusers class,
    /// and refuses what it does not compute.
    fn new(algorithm: Algorithm, config: &SchedulerConfig) -> Result<Self, Error>
    where
        Self: Sized;

    /// The noise that the model was trained with.
    fn trained(&self) -> &Trained;

    /// The steps, with `eta` in `[0, 1]` and `strength` in `(0, 1]`.
    fn schedule(&self, steps: &Steps, eta: f64, strength: f64) -> Result<Schedule, Error>;

    /// The steps at timesteps that were computed here, of an algorithm that takes any; those that diffusers lets nobody
    /// choose are overridden where nothing else speaks against it.
    fn schedule_at(&self, timesteps: Vec<usize>, eta: f64) -> Result<Schedule, Error> {
        self.schedule(&Steps::Timesteps(timesteps), eta, 1.0)
    }
}

/// Makes the enum and all that is known of its variants from one table.
macro_rules! algorithms {
    ($(
        $(#[$doc:meta])* $variant:ident: $name:literal, $class:literal $(as $kind:literal)?, $method:ty,
        eta: $has_eta:literal, spacing: $has_spacing:literal, zero_snr: $has_zero_snr:literal;
    )*) => {
        /// A sampling algorithm: the way of a latent from one noise level to the next.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Algorithm {
            $($(#[$doc])* $variant,)*
        }

        impl Algorithm {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that [`FromStr`] reads.
            #[doc = concat!("One of", $(" `", $name, "`",)* ".")]
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The diffusers class that computes it.
            #[must_use]
            pub fn class_name(self) -> &'static str {
                match self { $(Self::$variant => $class,)* }
            }

            /// The `algorithm_type` that its configurations have, where the class computes several.
            fn kind(self) -> Option<&'static str> {
                let kind: &[&'static str] = match self { $(Self::$variant => &[$($kind)?],)* };
                kind.first().copied()
            }

            /// Tells whether `eta` changes what it does. The others take any valid `eta` and ignore it, as diffusers'
            /// pipelines do.
            #[must_use]
            pub fn has_eta(self) -> bool {
                match self { $(Self::$variant => $has_eta,)* }
            }

            /// Tells whether a configuration's `timestep_spacing` changes what it does. The others have timesteps of their
            /// own.
            #[must_use]
            pub fn has_spacing(self) -> bool {
                match self { $(Self::$variant => $has_spacing,)* }
            }

            /// Tells whether a configuration's `rescale_betas_zero_snr` changes what it does. The classes of the others in
            /// diffusers do not know it.
            #[must_use]
            pub fn has_zero_snr(self) -> bool {
                match self { $(Self::$variant => $has_zero_snr,)* }
            }

            pub(crate) fn method(self, config: &SchedulerConfig) -> Result<Arc<dyn Method>, Error> {
                match self { $(Self::$variant => Ok(Arc::new(<$method>::new(self, config)?)),)* }
            }
        }
    };
}

algorithms! {
    /// Denoising diffusion implicit models, [arXiv:2010.02502](https://arxiv.org/abs/2010.02502).
    Ddim: "ddim", "DDIMScheduler", ddim::Ddim, eta: true, spacing: true, zero_snr: true;
    /// Trajectory consistency distillation, [arXiv:2402.19159](https://arxiv.org/abs/2402.19159).
    Tcd: "tcd", "TCDScheduler", tcd::Tcd, eta: true, spacing: false, zero_snr: true;
    /// Latent consistency models, [arXiv:2310.04378](https://arxiv.org/abs/2310.04378).
    Lcm: "lcm", "LCMScheduler", lcm::Lcm, eta: false, spacing: false, zero_snr: true;
    /// Euler's method in sigma space, algorithm 2 of [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn.
    Euler: "euler", "EulerDiscreteScheduler", euler::Euler, eta: false, spacing: true, zero_snr: true;
    /// Euler's method with ancestral noise.
    EulerAncestral: "euler-a", "EulerAncestralDiscreteScheduler", euler::Euler, eta: false, spacing: true, zero_snr: true;
    /// The multistep DPM-Solver++, [arXiv:2211.01095](https://arxiv.org/abs/2211.01095), of second order unless the
    /// configuration says first or third.
    Dpmpp2m: "dpmpp-2m", "DPMSolverMultistepScheduler", dpmpp::Dpmpp, eta: false, spacing: true, zero_snr: true;
    /// The same for the reverse SDE: fresh noise in every step.
    Dpmpp2mSde: "dpmpp-2m-sde", "DPMSolverMultistepScheduler" as "sde-dpmsolver++", dpmpp::Dpmpp, eta: false, spacing: true, zero_snr: true;
    /// The stochastic DPM-Solver++ of two evaluations in a step, [arXiv:2211.01095](https://arxiv.org/abs/2211.01095).
    DpmppSde: "dpmpp-sde", "DPMSolverSDEScheduler", dpmpp_sde::DpmppSde, eta: false, spacing: true, zero_snr: false;
    /// UniPC, a multistep predictor and corrector, [arXiv:2302.04867](https://arxiv.org/abs/2302.04867).
    UniPc: "unipc", "UniPCMultistepScheduler", unipc::UniPc, eta: false, spacing: true, zero_snr: true;
    /// Heun's method in sigma space, algorithm 1 of [arXiv:2206.00364](https://arxiv.org/abs/2206.00364) without churn: two
    /// evaluations in a step.
    Heun: "heun", "HeunDiscreteScheduler", heun::Heun, eta: false, spacing: true, zero_snr: false;
    /// Piecewise rectified flow, [arXiv:2405.07510](https://arxiv.org/abs/2405.07510), for models that were made straight in
    /// each of four windows of time.
    PeRFlow: "perflow", "PeRFlowScheduler", perflow::PeRFlow, eta: false, spacing: false, zero_snr: false;
    /// Pseudo numerical methods, [arXiv:2202.09778](https://arxiv.org/abs/2202.09778), as Stable Diffusion 1.x ships them.
    Pndm: "pndm", "PNDMScheduler", pndm::Pndm, eta: false, spacing: true, zero_snr: false;
    /// Denoising diffusion probabilistic models, [arXiv:2006.11239](https://arxiv.org/abs/2006.11239).
    Ddpm: "ddpm", "DDPMScheduler", ddpm::Ddpm, eta: false, spacing: true, zero_snr: true;
}

impl Algorithm {
    /// The algorithm that a configuration was written for, from its `_class_name`, and `algorithm_type` where that class
    /// computes several.
    ///
    /// # Errors
    /// [`Error::UnknownClass`], naming the choices, for a class that is none of ours: a `DEISMultistepScheduler`, for
    /// example.
    pub fn of(config: &SchedulerConfig) -> Result<Self, Error> {
        let is_class = |algorithm: &Self| config.class_name.as_deref() == Some(algorithm.class_name());
        let is_kind = |algorithm: Self| algorithm.kind() == config.algorithm_type.as_deref();
        Self::find(|algorithm| is_class(&algorithm) && algorithm.kind().is_some() && is_kind(algorithm))
            .or_else(|| Self::find(|algorithm| is_class(&algorithm) && algorithm.kind().is_none()))
            .ok_or_else(|| Error::UnknownClass { class: config.class_name.clone() })
    }

    fn find(is_it: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.iter().copied().find(|&algorithm| is_it(algorithm))
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
        Self::find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Error::UnknownAlgorithm { given: name.to_owned() })
    }
}

/// The names, for messages.
pub(crate) fn names() -> String {
    Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}
