//! A guess at the family of models that a LoRA file was made for, for messages and never for arithmetic.

use hypersd_core::{Family, TensorSource};

/// The model that a file looks made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MadeFor {
    /// One of this family.
    Family(Family),
    /// A UNet of no known family: the width of the text states its cross-attention reads.
    OtherUnet(usize),
    /// Nothing tells.
    Unknown,
}

impl std::fmt::Display for MadeFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Family(family) => family.fmt(f),
            Self::OtherUnet(width) => write!(f, "a UNet with cross-attention width {width}"),
            Self::Unknown => f.write_str("an unknown family"),
        }
    }
}

impl MadeFor {
    /// Guesses from the tensors of a LoRA file, in any of its spellings.
    pub(crate) fn of(source: &dyn TensorSource) -> Self {
        let mut names = source.names();
        names.sort_unstable();
        let spelled: Vec<String> = names.iter().map(|name| name.replace('.', "_")).collect();
        let any = |parts: &[&str]| spelled.iter().any(|name| parts.iter().all(|part| name.contains(part)));

        if any(&["single_transformer_blocks_"]) || any(&["double_blocks_"]) {
            return Self::Family(Family::Flux);
        }
        if any(&["joint_blocks_"]) || any(&["transformer_blocks_", "add_k_proj"]) {
            return Self::Family(Family::Sd3);
        }
        // Cross-attention reads the text encoder's width: the one number all families differ in.
        let reads_text = |name: &str| {
            let factor = ["down_weight", "hada_w1_b", "to_k_diff"].iter().any(|end| name.ends_with(end));
            name.contains("attn2_") && name.contains("to_k") && (factor || name.contains("lora_A"))
        };
        let width = names.iter().zip(&spelled).find_map(|(name, spelled)| {
            reads_text(spelled).then(|| source.info(name)?.shape.get(1).copied()).flatten()
        });
        match width {
            Some(768) => Self::Family(Family::Sd1),
            Some(1024) => Self::Family(Family::Sd2),
            Some(1280) => Self::Family(Family::SdxlRefiner),
            Some(2048) => Self::Family(Family::Sdxl),
            Some(width) => Self::OtherUnet(width),
            // No cross-attention: two text encoders, or more than one layer in a transformer, are SDXL's.
            None if any(&["lora_te2_"]) || any(&["text_encoder_2_"]) => Self::Family(Family::Sdxl),
            None if any(&["_attentions_", "_transformer_blocks_1_"]) => Self::Family(Family::Sdxl),
            None if any(&["put_blocks_", "_transformer_blocks_1_"]) => Self::Family(Family::Sdxl),
            None => Self::Unknown,
        }
    }

    /// "the file looks made for …, the base is …".
    pub(crate) fn versus(self, base: Option<Family>) -> String {
        let base = base.map_or(String::new(), |base| format!(", the base is {base}"));
        format!("the file looks made for {self}{base}")
    }
}
