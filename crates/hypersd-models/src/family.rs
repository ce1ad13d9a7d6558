//! The families side by side: everything that sets one apart from another and no configuration says.

use burn::tensor::Tensor;
use hypersd_core::Family;

use crate::{
    Error,
    clip::{ClipTextModel, HiddenAct, TextStates, Tokenizer},
    unet::{PerLevel, UNetConfig},
    vae::VaeConfig,
};

/// The traits that all models of a family share, whatever their size.
#[derive(Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The family.
    pub family: Family,
    /// The text encoders; their states stand side by side in the context, in this order.
    pub text_encoders: &'static [TextProfile],
    /// The rule by which a UNet divides its channels into attention heads where no configuration says it.
    pub heads: Heads,
    /// Width and height in pixels of pictures of a model that does not say.
    pub native_side: usize,
    /// Numbers of the picture that the UNet is told (`time_ids`).
    pub numbers: Numbers,
    /// True where the UNet was trained on the last, least noisy part of the noise schedule alone, so that it needs a
    /// picture to start from.
    pub refines: bool,
    /// The families whose UNets may take over from this family's, on the same latents.
    pub refined_by: &'static [Family],
    /// True where a negative prompt that is not given is zeros rather than the empty prompt, in a model that does not say
    /// (`force_zeros_for_empty_prompt`).
    pub zero_negative: bool,
    /// True where a VAE that says so (`force_upcast`) is run in f32, as diffusers' pipelines of the family do.
    pub upcast_vae: bool,
    /// The published VAE, whose scale no shape says.
    pub vae: fn() -> VaeConfig,
    /// The prediction of a UNet whose file does not say; `None` where there are both kinds.
    pub prediction: Option<Prediction>,
    /// True where diffusers' pipelines of the family set `steps_offset` and `clip_sample` right in configurations that were
    /// written as for models of pixels.
    pub corrects_scheduler: bool,
    /// The class of scheduler, by its name in diffusers, of a model without a scheduler's configuration; `None` leaves it
    /// to whoever samples.
    pub scheduler: Option<&'static str>,
}

/// A text encoder of a family: how its parts are called, and which of its states make the context.
#[derive(Debug)]
#[non_exhaustive]
pub struct TextProfile {
    /// The encoder's folder in a model.
    pub encoder: &'static str,
    /// The tokenizer's folder in a model.
    pub tokenizer: &'static str,
    /// The beginning of its modules' names in LoRA files.
    pub lora_prefix: &'static str,
    /// The activation of the published encoder, which no shape says.
    pub hidden_act: HiddenAct,
    /// The tokenizer of a model without one, for an encoder of so many embeddings.
    pub own_tokenizer: fn(vocab_size: usize) -> Result<Tokenizer, Error>,
    /// The state that goes into the context.
    pub state: State,
    /// True where the UNet is told its pooled state too.
    pub pooled: bool,
    /// What files of textual inversion call its embeddings.
    pub embeddings: &'static str,
}

/// The numbers of a picture that a UNet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Numbers {
    /// None.
    None,
    /// Six: its original size, crop and target size.
    Sizes,
    /// Five: its original size, its crop, and how good it looks, which is less for the negative prompt.
    Aesthetics,
}

/// A state of a text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The last one, after the final norm.
    Last,
    /// The last but one, without the final norm.
    Penultimate,
}

/// A rule for dividing channels into attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heads {
    /// So many at each level.
    Count(usize),
    /// So many that each has this width.
    Width(usize),
}

/// The quantity that a UNet was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity: `√ᾱ · noise − √(1 − ᾱ) · x0`.
    Velocity,
}

const SD1: Profile = Profile {
    family: Family::Sd1,
    text_encoders: &[TextProfile {
        encoder: "text_encoder",
        tokenizer: "tokenizer",
        lora_prefix: "lora_te_",
        hidden_act: HiddenAct::QuickGelu,
        own_tokenizer: Tokenizer::clip_l_of,
        state: State::Last,
        pooled: false,
        embeddings: "emb_params",
    }],
    heads: Heads::Count(8),
    native_side: 512,
    numbers: Numbers::None,
    refines: false,
    refined_by: &[],
    zero_negative: false,
    upcast_vae: false,
    vae: VaeConfig::sd15,
    prediction: Some(Prediction::Epsilon),
    corrects_scheduler: true,
    scheduler: None,
};

/// Its files hold one layer of the text encoder less than OpenCLIP has, or none reads it: `Last` is the last but one of
/// OpenCLIP's.
const SD2: Profile = Profile {
    family: Family::Sd2,
    text_encoders: &[TextProfile {
        hidden_act: HiddenAct::Gelu,
        own_tokenizer: Tokenizer::open_clip_of, // pads with `!`
        ..SD1.text_encoders[0]
    }],
    heads: Heads::Width(64),
    prediction: None,
    ..SD1
};

const SDXL: Profile = Profile {
    family: Family::Sdxl,
    text_encoders: &[
        TextProfile {
            lora_prefix: "lora_te1_",
            state: State::Penultimate,
            embeddings: "clip_l",
            ..SD1.text_encoders[0]
        },
        TextProfile {
            encoder: "text_encoder_2",
            tokenizer: "tokenizer_2",
            lora_prefix: "lora_te2_",
            hidden_act: HiddenAct::Gelu,
            own_tokenizer: Tokenizer::open_clip_of,
            state: State::Penultimate,
            pooled: true,
            embeddings: "clip_g",
        },
    ],
    heads: Heads::Width(64),
    native_side: 1024,
    numbers: Numbers::Sizes,
    refined_by: &[Family::SdxlRefiner, Family::Sdxl],
    zero_negative: true,
    upcast_vae: true,
    vae: VaeConfig::sdxl,
    prediction: Some(Prediction::Epsilon),
    corrects_scheduler: false,
    scheduler: Some("EulerDiscreteScheduler"),
    ..SD1
};

/// It reads the second of SDXL's text encoders alone.
const SDXL_REFINER: Profile = Profile {
    family: Family::SdxlRefiner,
    text_encoders: &[TextProfile { lora_prefix: "lora_te_", ..SDXL.text_encoders[1] }],
    numbers: Numbers::Aesthetics,
    refines: true,
    refined_by: &[],
    zero_negative: false,
    ..SDXL
};

impl Numbers {
    /// How many they are.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Sizes => 6,
            Self::Aesthetics => 5,
        }
    }
}

impl Profile {
    /// The profile of a family; `None` for one whose networks are not here.
    #[must_use]
    pub fn of(family: Family) -> Option<&'static Self> {
        Self::all().find(|profile| profile.family == family)
    }

    /// The profiles of all families.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        const ALL: [&Profile; 4] = [&SD1, &SD2, &SDXL, &SDXL_REFINER];
        ALL.into_iter()
    }

    /// Height and width in latents of the pictures of a model that does not say, with a VAE of this factor.
    #[must_use]
    pub fn native_cells(&self, factor: usize) -> [usize; 2] {
        [(self.native_side / factor).max(1); 2]
    }
}

impl TextProfile {
    /// The encoder's share of the context, with the last `clip_skip` layers left out beside those that the family never
    /// reads (diffusers' `clip_skip`).
    ///
    /// # Shapes
    /// - `[B, 77, D]`
    ///
    /// # Errors
    /// [`Error::ClipSkip`] for more layers than there are.
    pub fn context(
        &self,
        encoder: &ClipTextModel,
        states: &TextStates,
        clip_skip: usize,
    ) -> Result<Tensor<3>, Error> {
        match self.state {
            State::Last if clip_skip == 0 => Ok(states.last_hidden_state.clone()),
            State::Last => encoder.skip_layers(states, clip_skip),
            State::Penultimate => encoder.penultimate(states, clip_skip),
        }
    }

    /// The largest `clip_skip` of an encoder of so many layers.
    #[must_use]
    pub fn most_skipped(&self, layers: usize) -> usize {
        match self.state {
            State::Last => layers,
            State::Penultimate => layers.saturating_sub(1),
        }
    }
}

impl UNetConfig {
    /// The family that the UNet belongs to, by what the families differ in by design, not in size, so that small models
    /// count as what they are small copies of: SDXL adds pooled text and sizes to the time embedding, its refiner reads
    /// one text encoder alone, and Stable Diffusion 2 projects with dense layers where 1 has convolutions.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.addition_embed_type {
            Some(_) if self.reads_one_encoder() => Family::SdxlRefiner,
            Some(_) => Family::Sdxl,
            None if self.use_linear_projection => Family::Sd2,
            None => Family::Sd1,
        }
    }

    /// True where the context is as wide as the pooled state beside five numbers, of one encoder. Where the width of a
    /// number is not known, the published width decides.
    fn reads_one_encoder(&self) -> bool {
        let PerLevel::All(context) = self.cross_attention_dim else { return false };
        let numbers = self.addition_time_embed_dim.map(|width| Numbers::Aesthetics.count() * width);
        let pooled = self
            .projection_class_embeddings_input_dim
            .zip(numbers)
            .and_then(|(added, numbers)| added.checked_sub(numbers));
        context == 1280 || pooled == Some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_known_in_any_size() {
        let small = |width| UNetConfig {
            block_out_channels: vec![32, 64],
            cross_attention_dim: PerLevel::All(width),
            ..UNetConfig::default()
        };
        assert_eq!(UNetConfig::sd15().family(), Family::Sd1);
        assert_eq!(UNetConfig::sdxl().family(), Family::Sdxl);
        assert_eq!(small(64).family(), Family::Sd1);
        let linear = |width| UNetConfig { use_linear_projection: true, ..small(width) };
        assert_eq!(linear(1024).family(), Family::Sd2);
        let sdxl = |width| UNetConfig { addition_embed_type: Some("text_time".into()), ..linear(width) };
        assert_eq!(sdxl(64).family(), Family::Sdxl);
        assert_eq!(sdxl(1280).family(), Family::SdxlRefiner);
        let told = |width, added| UNetConfig {
            addition_time_embed_dim: Some(32),
            projection_class_embeddings_input_dim: Some(added),
            ..sdxl(width)
        };
        assert_eq!(told(128, 128 + 5 * 32).family(), Family::SdxlRefiner);
        assert_eq!(told(192, 128 + 6 * 32).family(), Family::Sdxl);
    }

    #[test]
    fn a_family_without_networks_has_no_profile() {
        for family in [Family::Sd3, Family::Flux] {
            assert!(Profile::of(family).is_none(), "{family}");
        }
        for family in [Family::Sd1, Family::Sd2, Family::Sdxl, Family::SdxlRefiner] {
            assert_eq!(Profile::of(family).map(|profile| profile.family), Some(family));
        }
    }
}
