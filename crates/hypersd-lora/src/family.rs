//! Which family of models a set of names and shapes belongs to: a guess, for messages and never for arithmetic.

use hypersd_core::TensorSource;

/// A family of models whose LoRA files do not fit another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
    /// Stable Diffusion 3.
    Sd3,
    /// FLUX.
    Flux,
    /// A UNet of none of these: the width of the text states its cross-attention reads.
    OtherUnet(usize),
    /// Nothing tells.
    Unknown,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sd1 => f.write_str("Stable Diffusion 1.x"),
            Self::Sd2 => f.write_str("Stable Diffusion 2.x"),
            Self::Sdxl => f.write_str("Stable Diffusion XL"),
            Self::SdxlRefiner => f.write_str("the Stable Diffusion XL refiner"),
            Self::Sd3 => f.write_str("Stable Diffusion 3"),
            Self::Flux => f.write_str("FLUX"),
            Self::OtherUnet(width) => write!(f, "a UNet with cross-attention width {width}"),
            Self::Unknown => f.write_str("an unknown family"),
        }
    }
}

impl Family {
    /// Guesses from the tensors of a model or of a LoRA file, in any of their spellings.
    pub(crate) fn of(source: &dyn TensorSource) -> Self {
        let mut names = source.names();
        names.sort_unstable();
        let spelled: Vec<String> = names.iter().map(|name| name.replace('.', "_")).collect();
        let any = |parts: &[&str]| spelled.iter().any(|name| parts.iter().all(|part| name.contains(part)));

        if any(&["single_transformer_blocks_"]) || any(&["double_blocks_"]) {
            return Self::Flux;
        }
        if any(&["joint_blocks_"]) || any(&["transformer_blocks_", "add_k_proj"]) {
            return Self::Sd3;
        }
        // What cross-attention reads is the text encoder's width: the one number all families differ in.
        let reads_text = |name: &str| {
            let factor = ["down_weight", "to_k_weight", "hada_w1_b", "to_k_diff"]
                .iter()
                .any(|end| name.ends_with(end));
            name.contains("attn2_") && name.contains("to_k") && (factor || name.contains("lora_A"))
        };
        let width = names.iter().zip(&spelled).find_map(|(name, spelled)| {
            reads_text(spelled).then(|| source.info(name)?.shape.get(1).copied()).flatten()
        });
        match width {
            Some(768) => Self::Sd1,
            Some(1024) => Self::Sd2,
            Some(1280) => Self::SdxlRefiner,
            Some(2048) => Self::Sdxl,
            Some(width) => Self::OtherUnet(width),
            // No cross-attention: two text encoders, or more than one layer in a transformer, are SDXL's.
            None if any(&["lora_te2_"]) || any(&["text_encoder_2_"]) => Self::Sdxl,
            None if any(&["_attentions_", "_transformer_blocks_1_"]) => Self::Sdxl,
            None if any(&["put_blocks_", "_transformer_blocks_1_"]) => Self::Sdxl,
            None => Self::Unknown,
        }
    }

    /// "it looks made for …, the base is …".
    pub(crate) fn versus(made_for: Self, base: Self) -> String {
        format!("the file looks made for {made_for}, the base is {base}")
    }
}
