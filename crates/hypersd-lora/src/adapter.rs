//! What PEFT knows of a LoRA beside its tensors: alphas, mostly, without which the tensors have the wrong size.

use std::collections::BTreeMap;

use hypersd_core::Error;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where diffusers keeps the configurations of all components: as JSON, under one key of the file's metadata.
const METADATA_KEY: &str = "lora_adapter_metadata";
/// What a name of a component begins with in it.
const COMPONENTS: [&str; 3] = ["unet.", "text_encoder.", "text_encoder_2."];

/// The configurations of the adapters in one file.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    /// Component (with the dot) and configuration; without a component, for whatever the file has.
    configs: Vec<(&'static str, Config)>,
}

/// The fields of PEFT's `LoraConfig` that change the arithmetic.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    r: Option<usize>,
    #[serde(alias = "alpha")] // LoHa's and LoKr's word
    lora_alpha: Option<f32>,
    rank_pattern: Option<BTreeMap<String, usize>>,
    alpha_pattern: Option<BTreeMap<String, f32>>,
    use_rslora: bool,
    use_dora: bool,
}

/// What the configuration says of one module.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Adapter {
    pub(crate) rank: Option<usize>,
    pub(crate) alpha: Option<f32>,
    /// The scale is alpha / √rank (arXiv:2312.03732).
    pub(crate) rank_stabilized: bool,
    /// There is a magnitude.
    pub(crate) dora: bool,
}

impl Adapters {
    /// Reads a file's metadata; most files have nothing there.
    pub(crate) fn of_metadata(origin: &str, metadata: &BTreeMap<String, String>) -> Result<Self, Error> {
        let Some(text) = metadata.get(METADATA_KEY) else { return Ok(Self::default()) };
        let origin = format!("{origin}: {METADATA_KEY}");
        let all: Map<String, Value> = parse(&origin, text)?;
        let mut configs = Vec::new();
        for component in COMPONENTS {
            let own: Map<_, _> = all
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(component)?.to_owned(), value.clone())))
                .collect();
            if !own.is_empty() {
                configs.push((component, Config::new(&origin, Value::Object(own))?));
            }
        }
        Ok(Self { configs })
    }

    /// Reads the `adapter_config.json` beside PEFT's own `adapter_model.safetensors`.
    pub(crate) fn of_peft(origin: &str, text: &str) -> Result<Self, Error> {
        Ok(Self { configs: vec![("", Config::new(origin, parse(origin, text)?)?)] })
    }

    /// What is known of a module. Names without dots are not PEFT's.
    pub(crate) fn of(&self, module: &str) -> Adapter {
        let module = module.strip_prefix("base_model.model.").unwrap_or(module);
        let component = COMPONENTS.iter().find(|component| module.starts_with(**component)).copied();
        let known = self.configs.iter().find(|(of, _)| of.is_empty() || *of == component.unwrap_or("unet."));
        match known {
            Some((_, config)) if !module.starts_with("lora_") => {
                let path = component.map_or(module, |component| &module[component.len()..]);
                config.of(path.strip_prefix("base_model.model.").unwrap_or(path))
            }
            _ => Adapter::default(),
        }
    }
}

impl Config {
    fn new(origin: &str, json: Value) -> Result<Self, Error> {
        let wrong = |expected: &str, found: String| Error::Format {
            origin: origin.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let config: Self = serde_json::from_value(json)
            .map_err(|e| wrong("the fields of a PEFT LoraConfig", e.to_string()))?;
        let patterns = config.alpha_pattern.iter().flat_map(BTreeMap::keys);
        for pattern in patterns.chain(config.rank_pattern.iter().flat_map(BTreeMap::keys)) {
            if literal(pattern).contains(|c| r"\^$*+?()[]{}|".contains(c)) {
                return Err(wrong(
                    "patterns that are module names",
                    format!("the regular expression {pattern:?}"),
                ));
            }
        }
        let alphas = config.lora_alpha.iter().chain(config.alpha_pattern.iter().flat_map(BTreeMap::values));
        match alphas.copied().find(|alpha| !alpha.is_finite()) {
            Some(alpha) => Err(wrong("finite alphas", alpha.to_string())),
            None => Ok(config),
        }
    }

    fn of(&self, path: &str) -> Adapter {
        Adapter {
            rank: matching(self.rank_pattern.as_ref(), path).or(self.r),
            alpha: matching(self.alpha_pattern.as_ref(), path).or(self.lora_alpha),
            rank_stabilized: self.use_rslora,
            dora: self.use_dora,
        }
    }
}

/// The value whose pattern is the path or the end of it after a dot. Where several fit, PEFT takes the first; it and
/// diffusers write them sorted, as the map here is.
fn matching<T: Copy>(patterns: Option<&BTreeMap<String, T>>, path: &str) -> Option<T> {
    let fits = |pattern: &str| {
        let whole = pattern.starts_with('^');
        let head = path.strip_suffix(literal(pattern));
        head.is_some_and(|head| head.is_empty() || (!whole && head.ends_with('.')))
    };
    patterns?.iter().find(|(pattern, _)| fits(pattern)).map(|(_, value)| *value)
}

/// A pattern without the anchors that diffusers puts around a whole name.
fn literal(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    pattern.strip_suffix('$').unwrap_or(pattern)
}

fn parse<T: serde::de::DeserializeOwned>(origin: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::Format {
        origin: origin.to_owned(),
        expected: "a JSON object".into(),
        found: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters(json: &str) -> Result<Adapters, Error> {
        Adapters::of_metadata("file", &BTreeMap::from([(METADATA_KEY.to_owned(), json.to_owned())]))
    }

    #[test]
    fn each_component_has_its_own_alpha_and_patterns() {
        let json = r#"{
            "unet.r": 8, "unet.lora_alpha": 16, "unet.target_modules": ["to_q"], "unet.bias": "none",
            "unet.alpha_pattern": {"mid.to_q": 3, "to_q": 2.5, "^up.to_q": 7}, "unet.rank_pattern": {"to_q": 4},
            "text_encoder.r": 2, "text_encoder.lora_alpha": 1, "text_encoder.use_rslora": true,
            "text_encoder.use_dora": true, "text_encoder.alpha_pattern": null
        }"#;
        let adapters = adapters(json).unwrap();
        let of = |module| {
            let Adapter { rank, alpha, .. } = adapters.of(module);
            (rank, alpha)
        };
        assert_eq!(of("unet.down.to_k"), (Some(8), Some(16.0)));
        assert_eq!(of("down.to_k"), (Some(8), Some(16.0)), "without a component it is the UNet");
        assert_eq!(of("unet.down.to_q"), (Some(4), Some(2.5)));
        assert_eq!(of("unet.mid.to_q"), (Some(4), Some(3.0)));
        assert_eq!(of("unet.base_model.model.mid.to_q"), (Some(4), Some(3.0)));
        assert_eq!(of("unet.down.not_to_q"), (Some(8), Some(16.0)));
        assert_eq!(of("unet.up.to_q"), (Some(4), Some(7.0)));
        assert_eq!(of("unet.a.up.to_q"), (Some(4), Some(2.5)));
        assert_eq!(of("text_encoder_2.a"), (None, None));
        assert_eq!(of("lora_unet_mid_to_q"), (None, None));
        let text = Adapter { rank: Some(2), alpha: Some(1.0), rank_stabilized: true, dora: true };
        assert_eq!(adapters.of("text_encoder.a.q_proj"), text);
    }

    #[test]
    fn what_cannot_be_honoured_is_an_error() {
        for (json, said) in [
            ("[]", "a JSON object"),
            (r#"{"unet.r": "eight"}"#, "LoraConfig"),
            (r#"{"unet.r": -1}"#, "LoraConfig"),
            (r#"{"unet.lora_alpha": 1e60}"#, "finite"),
            (r#"{"unet.alpha_pattern": {"a.*b": 1}}"#, "regular expression"),
        ] {
            let error = adapters(json).unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
