//! Notices: things that a user wants to know and that are no errors.

use std::{fmt, sync::Arc};

use hypersd_lora::LoraReport;
use hypersd_schedulers::Algorithm;

/// Something that was done otherwise than asked, or that has no effect; see
/// [`PipelineBuilder::on_notice`](crate::PipelineBuilder::on_notice).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// The request names no scheduler, and hypersd does not have the one that the model's configuration names.
    SchedulerReplaced {
        /// The class in the configuration, if it has one.
        class: Option<String>,
        /// The one that is used.
        used: Algorithm,
    },
    /// The model's scheduler configuration has a field as for models of pixels, which is set right as diffusers does it.
    SchedulerCorrected {
        /// The configuration's file.
        origin: String,
        /// The field.
        field: &'static str,
        /// The value that the file, or the class that wrote it, has.
        found: String,
        /// The value that is used.
        used: String,
    },
    /// The request names a scheduler that clips latents, because the model's configuration does not say that it shall not.
    LatentsClipped {
        /// The scheduler.
        algorithm: Algorithm,
        /// The configuration's file.
        origin: String,
    },
    /// A ControlNet alone in a file has no configuration, and no shape says whether what it adds is averaged over the picture.
    ControlNetAssumed {
        /// The file.
        origin: String,
        /// True where its name is the shuffle ControlNet's, so that it is averaged.
        pools: bool,
    },
    /// A text encoder's configuration names fewer layers than its file has (clip skip baked in). The others have no effect, and
    /// neither has what a LoRA changes in them.
    LayersCut {
        /// The file.
        origin: String,
        /// Layers that the configuration names.
        kept: usize,
        /// Layers in the file.
        found: usize,
    },
    /// A prompt is longer than a text encoder reads.
    PromptTruncated {
        /// The end that has no effect.
        rest: String,
    },
    /// [Leniently](crate::PipelineBuilder::lenient): a file has tensors that its network has no parameter for.
    TensorsLeftOver {
        /// The file.
        origin: String,
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// [Leniently](crate::PipelineBuilder::lenient): a LoRA was not applied in full. The account says what was not, and why.
    LoraInPart(Box<LoraReport>),
    /// The mask paints nothing: it is black, or so blurred that no pixel of it is half white.
    NothingPainted {
        /// The radius of the blur.
        blur: f32,
    },
    /// Weights are kept in bf16, and multiplied in f32: this processor is not faster with bf16.
    MultipliedInF32,
    /// A LoRA file has a word of its own (textual inversion) that is not taken into the model.
    LoraWord {
        /// The file.
        file: String,
        /// The word.
        word: String,
        /// Why not.
        reason: String,
    },
    /// The decoder overflowed in half precision, and the picture was decoded again in f32.
    DecodedInF32,
    /// The encoder overflowed in half precision, and the picture was encoded again in f32.
    EncodedInF32,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SchedulerReplaced { class, used } => {
                let class = class.as_deref().unwrap_or("no scheduler");
                write!(f, "the model's configuration names {class}; using {used}")
            }
            Self::SchedulerCorrected { origin, field, found, used } => write!(
                f,
                "{origin}: {field} is {found}, as for models of pixels; using {used}, as diffusers does"
            ),
            Self::LatentsClipped { algorithm, origin } => write!(
                f,
                "{algorithm} clips latents to ±1, as diffusers does, because {origin} does not say \"clip_sample\": false"
            ),
            Self::LayersCut { origin, kept, found } => write!(
                f,
                "{origin}: the configuration names {kept} of the {found} layers; the others, and what LoRAs change in them, have \
                 no effect"
            ),
            Self::ControlNetAssumed { origin, pools: true } => write!(
                f,
                "{origin}: by its name the shuffle ControlNet, so that what it adds is averaged over the picture"
            ),
            Self::ControlNetAssumed { origin, pools: false } => write!(
                f,
                "{origin}: no configuration is beside it and its name is not a published one; what it adds is not averaged \
                 over the picture, and its image is taken as RGB"
            ),
            Self::PromptTruncated { rest } => {
                write!(f, "the prompt is longer than the text encoder reads; without effect: {rest:?}")
            }
            Self::TensorsLeftOver { origin, names } => {
                /// A file for another version of a model has hundreds.
                const SHOWN: usize = 4;
                let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
                let more = if names.len() > SHOWN { ", …" } else { "" };
                write!(
                    f,
                    "{origin}: {} tensors that the network has no place for: {shown}{more}",
                    names.len()
                )
            }
            Self::NothingPainted { blur } => {
                let why = if *blur > 0.0 { format!(" once blurred by {blur} pixels") } else { String::new() };
                write!(f, "the mask paints nothing: no pixel of it is half white{why}")
            }
            Self::LoraInPart(report) => f.write_str(&report.details()),
            Self::MultipliedInF32 => f.write_str(
                "bf16 only saves memory: this processor has no faster products of it, and multiplies in f32",
            ),
            Self::LoraWord { file, word, reason } => {
                write!(f, "{file}: its word {word:?} is left out: {reason}")
            }
            Self::DecodedInF32 => f.write_str(
                "the VAE overflowed in half precision; decoded again in f32 (a VAE made for f16 avoids it)",
            ),
            Self::EncodedInF32 => f.write_str(
                "the VAE overflowed in half precision; encoded again in f32 (a VAE made for f16 avoids it)",
            ),
        }
    }
}

/// The receiver of notices; nobody, unless the caller asks for them.
#[derive(Clone)]
pub(crate) struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

impl Notices {
    pub(crate) fn new(sink: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    pub(crate) fn give(&self, notice: Notice) {
        (self.0)(notice);
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self::new(drop)
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
