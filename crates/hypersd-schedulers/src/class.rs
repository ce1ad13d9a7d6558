//! What the diffusers class that wrote a configuration says beside its fields: which noise its models take, and what its
//! defaults are.

use crate::{Algorithm, SchedulerConfig};

/// Classes of diffusers that have no algorithm here, but whose models are asked and answer as those of the classes here: any
/// algorithm draws from their configurations, by other steps.
const SAME_NOISE: &[&str] = &[
    "DDIMParallelScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
];

/// Classes whose models are asked otherwise, by a part of their name, and what they are for.
const OTHER_NOISE: &[(&str, &str)] = &[
    ("EDM", "EDM's preconditioning, whose latents have another scale"),
    ("FlowMatch", "flow matching"),
    ("RectifiedFlow", "flow matching"),
    ("CosineDPM", "EDM's preconditioning under a cosine schedule"),
    ("Wuerstchen", "a cosine schedule of its own"),
    ("UnCLIP", "a cosine schedule and a learned variance"),
    ("ConsistencyDecoder", "a cosine schedule of its own"),
    ("CMStochasticIterative", "consistency models of pixels"),
    ("CogVideoX", "video"),
    ("IPNDM", "a schedule of its own"),
    ("KarrasVe", "noise without a bound"),
    ("ScoreSde", "noise without a bound"),
    ("VQDiffusion", "tokens"),
    ("Amused", "tokens"),
];

/// How the noise of a configuration's class stands to that of the algorithms here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClassNoise {
    /// The same: any algorithm draws from the configuration.
    Same,
    /// Another, and whose: no algorithm here draws from it what its model means.
    Other(&'static str),
    /// Nobody knows: a class that is not diffusers' own.
    Unknown,
}

/// A field of a configuration that diffusers' pipelines for Stable Diffusion set right; see
/// [`SchedulerConfig::for_latents`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Correction {
    /// The field.
    pub field: &'static str,
    /// Its value, as the file or the class that wrote it has it.
    pub found: String,
    /// The value that is used.
    pub used: String,
}

impl SchedulerConfig {
    /// Whether a model of this configuration is asked and answers as the algorithms here have it. A configuration that
    /// names no class is taken for one of these.
    #[must_use]
    pub fn class_noise(&self) -> ClassNoise {
        let Some(class) = self.class_name.as_deref() else { return ClassNoise::Same };
        if Algorithm::of(self).is_ok() || SAME_NOISE.contains(&class) {
            return ClassNoise::Same;
        }
        let other = OTHER_NOISE.iter().find(|(part, _)| class.contains(part));
        other.map_or(ClassNoise::Unknown, |(_, whose)| ClassNoise::Other(whose))
    }

    /// The configuration as diffusers' pipelines of Stable Diffusion 1.x and 2.x take it, and what they set right: older
    /// converters (kohya's among them) leave `steps_offset` and `clip_sample` at what their class has for models of pixels,
    /// and these pipelines set them to 1 and false.
    ///
    /// That is for the scheduler of the class that wrote it (`own`). What another is built from has only those fields set
    /// right that the file itself has: where it is silent, `X.from_config(pipe.scheduler.config)` goes by the defaults of X.
    #[must_use]
    pub fn for_latents(self, own: bool) -> (Self, Vec<Correction>) {
        let corrected = |field, found: String, used: &str| Correction { field, found, used: used.into() };
        let mut corrections = Vec::new();
        let mut config = self.clone();
        let offset = self.steps_offset.or(own.then_some(0));
        if let Some(offset) = offset.filter(|&offset| offset != 1) {
            config.steps_offset = Some(1);
            corrections.push(corrected("steps_offset", offset.to_string(), "1"));
        }
        // Without a class it is taken for DDIM's.
        let class = self.class_name.as_deref().map(|class| class.replace("Parallel", ""));
        let is_class =
            |algorithm: &Algorithm| class.as_deref().is_none_or(|class| algorithm.class_name() == class);
        let by_default = own && Algorithm::CLIPPING.iter().any(is_class);
        if self.clip_sample.unwrap_or(by_default) {
            config.clip_sample = Some(false);
            corrections.push(corrected("clip_sample", "true".into(), "false"));
        }
        (config, corrections)
    }

    /// Whether an algorithm that is built from this configuration clamps x0 to [`clip_sample_range`](Self::clip_sample_range),
    /// which pixels keep to and latents do not.
    #[must_use]
    pub fn clips(&self, algorithm: Algorithm) -> bool {
        let by_default = Algorithm::CLIPPING.contains(&algorithm);
        algorithm.reads_clip_sample() && self.clip_sample.unwrap_or(by_default)
    }

    /// The bound that x0 is clamped to, if it is.
    pub(crate) fn clip(&self, algorithm: Algorithm) -> Option<f32> {
        self.clips(algorithm).then_some(self.clip_sample_range.unwrap_or(1.0) as f32)
    }
}

impl Algorithm {
    /// Those that clamp x0 where a configuration does not say `clip_sample`, as their classes in diffusers do.
    const CLIPPING: &'static [Self] = &[Self::Ddim, Self::Ddpm];

    /// Whether its class in diffusers has a `clip_sample`.
    fn reads_clip_sample(self) -> bool {
        matches!(self, Self::Ddim | Self::Ddpm | Self::Lcm | Self::Heun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> SchedulerConfig {
        SchedulerConfig::from_json(text).expect("a configuration")
    }

    #[test]
    fn classes_of_the_same_noise_are_told_from_others() {
        let of = |class: &str| read(&format!(r#"{{"_class_name": "{class}"}}"#)).class_noise();
        for class in
            ["PNDMScheduler", "LMSDiscreteScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler"]
        {
            assert_eq!(of(class), ClassNoise::Same, "{class}");
        }
        for class in [
            "EDMEulerScheduler",
            "EDMDPMSolverMultistepScheduler",
            "FlowMatchEulerDiscreteScheduler",
            "UnCLIPScheduler",
            "DDPMWuerstchenScheduler",
            "CosineDPMSolverMultistepScheduler",
        ] {
            assert!(matches!(of(class), ClassNoise::Other(_)), "{class}");
        }
        assert_eq!(of("FancyScheduler"), ClassNoise::Unknown);
        assert_eq!(read("{}").class_noise(), ClassNoise::Same);
    }

    #[test]
    fn what_is_meant_for_pixels_is_set_right_by_the_class_that_wrote_it() {
        let corrected = |text: &str, own| {
            let (config, corrections) = read(text).for_latents(own);
            let fields: Vec<_> = corrections.iter().map(|correction| correction.field).collect();
            (config.steps_offset, config.clip_sample, fields)
        };
        let right = r#"{"_class_name": "DDIMScheduler", "steps_offset": 1, "clip_sample": false}"#;
        let both = vec!["steps_offset", "clip_sample"];
        assert_eq!(corrected(right, true), (Some(1), Some(false), vec![]));
        let silent = r#"{"_class_name": "DDIMScheduler"}"#;
        assert_eq!(corrected(silent, true), (Some(1), Some(false), both.clone()));
        assert_eq!(corrected(silent, false), (None, None, vec![]));
        let pndm = r#"{"_class_name": "PNDMScheduler"}"#;
        assert_eq!(corrected(pndm, true), (Some(1), None, vec!["steps_offset"]));
        let pndm = r#"{"_class_name": "PNDMScheduler", "clip_sample": true, "steps_offset": 0}"#;
        assert_eq!(corrected(pndm, false), (Some(1), Some(false), both));
    }

    #[test]
    fn only_classes_that_know_it_clip() {
        let silent = read("{}");
        assert!(silent.clips(Algorithm::Ddim) && silent.clips(Algorithm::Ddpm));
        assert!(!silent.clips(Algorithm::Lcm) && !silent.clips(Algorithm::Heun));
        let said = read(r#"{"clip_sample": true}"#);
        assert!(said.clips(Algorithm::Lcm) && !said.clips(Algorithm::Euler));
    }
}
