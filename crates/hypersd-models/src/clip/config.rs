//! The sizes of a text encoder, under the names of its `config.json`.

use serde::{Deserialize, Deserializer};

use crate::Error;

/// A CLIP text encoder's `config.json`. Absent fields have the defaults of transformers' `CLIPTextConfig`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Number of tokens.
    pub vocab_size: usize,
    /// Width D of the states.
    pub hidden_size: usize,
    /// Width of the MLP's hidden layer.
    pub intermediate_size: usize,
    /// Width of the pooled output, where there is a projection.
    pub projection_dim: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// The MLP's activation.
    pub hidden_act: HiddenAct,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// The place where the pooled state is taken: at the first such id. The historical value 2, which most published
    /// files have, means "at the highest id" instead.
    pub eos_token_id: u32,
    /// True where there is a `text_projection`: in the file, whether `architectures` names
    /// `CLIPTextModelWithProjection`.
    #[serde(rename = "architectures", deserialize_with = "names_the_projecting_class")]
    pub with_projection: bool,
}

/// The activation between the MLP's two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HiddenAct {
    /// x · sigmoid(1.702 x), OpenAI's.
    QuickGelu,
    /// x · Φ(x) with the exact Φ, OpenCLIP's.
    Gelu,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: HiddenAct::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
            with_projection: false,
        }
    }
}

impl ClipTextConfig {
    /// CLIP ViT-L/14: `stable-diffusion-v1-5/text_encoder/config.json`, also SDXL's first.
    #[must_use]
    pub fn clip_l() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 768,
            num_attention_heads: 12,
            eos_token_id: 2,
            ..Self::default()
        }
    }

    /// OpenCLIP ViT-H/14 without its last layer: `stable-diffusion-2-1/text_encoder/config.json`.
    #[must_use]
    pub fn open_clip_h() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 23,
            num_attention_heads: 16,
            hidden_act: HiddenAct::Gelu,
            eos_token_id: 2,
            ..Self::default()
        }
    }

    /// OpenCLIP ViT-bigG/14: `stable-diffusion-xl-base-1.0/text_encoder_2/config.json`.
    #[must_use]
    pub fn open_clip_bigg() -> Self {
        Self {
            hidden_size: 1280,
            intermediate_size: 5120,
            projection_dim: 1280,
            num_hidden_layers: 32,
            num_attention_heads: 20,
            hidden_act: HiddenAct::Gelu,
            eos_token_id: 2,
            with_projection: true,
            ..Self::default()
        }
    }

    /// The same with what no shape says from `own`, if that is as large.
    pub(crate) fn completed_by(&self, own: &Self) -> Self {
        let completed = Self {
            num_attention_heads: own.num_attention_heads,
            hidden_act: own.hidden_act,
            layer_norm_eps: own.layer_norm_eps,
            eos_token_id: own.eos_token_id,
            ..self.clone()
        };
        let as_large = self.hidden_size == own.hidden_size && self.vocab_size == own.vocab_size;
        if as_large { completed } else { self.clone() }
    }

    /// Checks what the network relies on.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn validate(&self) -> Result<(), Error> {
        /// Far above every published encoder (bigG: 5120 wide, 32 layers); keeps a lying file from asking for
        /// a tensor that overflows.
        const WIDEST: usize = 1 << 20;
        const DEEPEST: usize = 256;
        fn check(
            field: &str,
            found: impl serde::Serialize,
            holds: bool,
            expected: &str,
        ) -> Result<(), Error> {
            Error::require("CLIP text encoder", field, found, holds, expected)
        }
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, WIDEST),
            ("hidden_size", self.hidden_size, WIDEST),
            ("intermediate_size", self.intermediate_size, WIDEST),
            ("projection_dim", self.projection_dim, WIDEST),
            ("num_hidden_layers", self.num_hidden_layers, DEEPEST),
            ("num_attention_heads", self.num_attention_heads, WIDEST),
            ("max_position_embeddings", self.max_position_embeddings, WIDEST),
        ] {
            check(field, value, (1..=most).contains(&value), &format!("1 to {most}"))?;
        }
        let (heads, width, eps) = (self.num_attention_heads, self.hidden_size, self.layer_norm_eps);
        let divides = width.is_multiple_of(heads);
        check("num_attention_heads", heads, divides, &format!("a divisor of hidden_size {width}"))?;
        let not_negative = eps.is_finite() && eps >= 0.0;
        check("layer_norm_eps", eps, not_negative, "a finite number that is not negative")?;
        Ok(())
    }
}

fn names_the_projecting_class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let architectures = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(architectures.iter().any(|name| name == "CLIPTextModelWithProjection"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_files_read_as_the_presets() {
        // The fields of the three config.json that bear on the network.
        let clip_l = r#"{"architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0,
            "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072,
            "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model",
            "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1, "projection_dim": 768,
            "torch_dtype": "float32", "vocab_size": 49408}"#;
        let bigg = r#"{"architectures": ["CLIPTextModelWithProjection"], "eos_token_id": 2,
            "hidden_act": "gelu", "hidden_size": 1280, "intermediate_size": 5120, "layer_norm_eps": 1e-05,
            "max_position_embeddings": 77, "num_attention_heads": 20, "num_hidden_layers": 32,
            "projection_dim": 1280, "vocab_size": 49408}"#;
        let read = |text| serde_json::from_str::<ClipTextConfig>(text).unwrap();
        assert_eq!(read(clip_l), ClipTextConfig::clip_l());
        assert_eq!(read(bigg), ClipTextConfig::open_clip_bigg());
        assert_eq!(read("{}"), ClipTextConfig::default());
        assert_eq!(read(r#"{"architectures": null}"#), ClipTextConfig::default());
        ClipTextConfig::open_clip_h().validate().unwrap();
    }

    #[test]
    fn configurations_that_cannot_be_are_refused() {
        for (text, field) in [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"vocab_size": 18446744073709551615}"#, "vocab_size"),
            (r#"{"num_hidden_layers": 1000000}"#, "num_hidden_layers"),
            (r#"{"layer_norm_eps": -1}"#, "layer_norm_eps"),
        ] {
            let config: ClipTextConfig = serde_json::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
        let error = serde_json::from_str::<ClipTextConfig>(r#"{"hidden_act": "relu"}"#).unwrap_err();
        assert!(error.to_string().contains("quick_gelu"), "{error}");
    }
}
