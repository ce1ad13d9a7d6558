//! Which tokens are special, and how they are matched inside a text.
//!
//! The files say it in several ways that grew over the years. The order of precedence here is that of
//! transformers 5.23 (`PreTrainedTokenizerBase._from_pretrained`, `TokenizersBackend.__init__`), because it shows
//! in the ids: SDXL's second tokenizer pads with `"!"`, which makes every `!` of a prompt the padding token.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenizers::AddedToken;

use super::{TokenizerFiles, json::parse_json};
use crate::Error;

/// The named tokens, and everything that is cut out of a text before it is split.
pub(super) struct SpecialTokens {
    pub(super) bos: String,
    pub(super) eos: String,
    pub(super) unk: String,
    pub(super) pad: String,
    /// One entry per content.
    pub(super) added: Vec<AddedToken>,
    pub(super) model_max_length: usize,
}

/// An entry of `tokenizer.json`'s `added_tokens`.
#[derive(Deserialize)]
pub(super) struct ListedToken {
    id: u32,
    #[serde(flatten)]
    token: FullToken,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConfigJson {
    #[serde(flatten)]
    named: NamedTokens,
    added_tokens_decoder: Option<BTreeMap<u32, FullToken>>,
    model_max_length: Option<serde_json::Number>,
}

/// The whole of `special_tokens_map.json`, and a part of `tokenizer_config.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedTokens {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    pad_token: Option<Token>,
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Full(FullToken),
}

#[derive(Deserialize, Clone)]
struct FullToken {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Matched in the lower-cased text rather than in the text as typed; by default what is not special.
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl NamedTokens {
    fn has(&self, content: &str) -> bool {
        let named = [&self.bos_token, &self.eos_token, &self.unk_token, &self.pad_token];
        named.into_iter().flatten().any(|token| token.content() == content)
    }
}

impl FullToken {
    fn added(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .normalized(self.normalized.unwrap_or(!self.special))
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
    }
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) | Self::Full(FullToken { content, .. }) => content,
        }
    }

    /// A named token is special, whatever its entry says.
    fn added(&self) -> AddedToken {
        match self {
            Self::Plain(content) => AddedToken::from(content.clone(), true),
            Self::Full(token) => token.added().special(true),
        }
    }
}

impl SpecialTokens {
    /// What stable-diffusion-v1-5's `tokenizer` (padding `<|endoftext|>`) and SDXL's `tokenizer_2` (`!`) say.
    pub(super) fn clip(pad: &str) -> Self {
        let (bos, eos) = ("<|startoftext|>", "<|endoftext|>");
        let mut added = vec![AddedToken::from(bos, true).normalized(true), AddedToken::from(eos, true)];
        if pad != eos {
            added.push(AddedToken::from(pad, true));
        }
        Self {
            bos: bos.to_string(),
            eos: eos.to_string(),
            unk: eos.to_string(),
            pad: pad.to_string(),
            added,
            model_max_length: DEFAULT_LENGTH,
        }
    }

    /// From the texts of `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`, and the list in
    /// `tokenizer.json`.
    pub(super) fn from_files(files: &TokenizerFiles<'_>, listed: Vec<ListedToken>) -> Result<Self, Error> {
        let (config, map) = (files.tokenizer_config, files.special_tokens_map);
        const CONFIG: &str = "tokenizer_config.json";
        const MAP: &str = "special_tokens_map.json";
        let object = "an object with the special tokens";
        let config: ConfigJson =
            config.map(|text| parse_json(CONFIG, object, text)).transpose()?.unwrap_or_default();
        let map: NamedTokens = map.map(|text| parse_json(MAP, object, text)).transpose()?.unwrap_or_default();
        let model_max_length = max_length(config.model_max_length.as_ref())?;

        // A configuration with a decoder is complete; the two other files speak only where there is none.
        let (decoder, map) = match config.added_tokens_decoder {
            Some(decoder) => (decoder, NamedTokens::default()),
            None => {
                let mut decoder = named_by_id(files.added_tokens, &config.named, &map)?;
                // Where both list an id, `tokenizer.json` has the last word.
                decoder.extend(listed.into_iter().map(|token| (token.id, token.token)));
                (decoder, map)
            }
        };
        let named = config.named;
        let token = |map: Option<Token>, config: Option<Token>, default: &str| {
            // What a map says in full is special even if it does not say so.
            let map = map.map(|token| match token {
                Token::Full(token) => Token::Full(FullToken { special: true, ..token }),
                plain @ Token::Plain(_) => plain,
            });
            map.or(config).unwrap_or_else(|| Token::Plain(default.to_string()))
        };
        let bos = token(map.bos_token, named.bos_token, "<|startoftext|>");
        let eos = token(map.eos_token, named.eos_token, "<|endoftext|>");
        let unk = token(map.unk_token, named.unk_token, "<|endoftext|>");
        let pad = token(map.pad_token, named.pad_token, "<|endoftext|>");

        let mut added: Vec<AddedToken> = decoder.values().map(FullToken::added).collect();
        let in_decoder = added.len();
        for token in [&bos, &eos, &unk, &pad] {
            let found = added.iter().position(|known| known.content == token.content());
            match found {
                Some(i) if i < in_decoder => added[i].special = true,
                // The same content twice: the later flags count.
                Some(i) => added[i] = token.added(),
                None => added.push(token.added()),
            }
        }
        for AddedToken { content, .. } in &added {
            if content.is_empty() || content.contains(char::is_whitespace) {
                return Err(Error::TokenizerFile {
                    file: CONFIG,
                    expected: "special tokens of at least one character and without spaces".to_string(),
                    found: format!("{content:?}"),
                });
            }
        }
        let [bos, eos, unk, pad] = [bos, eos, unk, pad].map(|token| token.content().to_string());
        Ok(Self { bos, eos, unk, pad, added, model_max_length })
    }
}

/// The tokens of `added_tokens.json` by their ids: special are those that the other two files name.
fn named_by_id(
    text: Option<&str>,
    config: &NamedTokens,
    map: &NamedTokens,
) -> Result<BTreeMap<u32, FullToken>, Error> {
    let Some(text) = text else { return Ok(BTreeMap::new()) };
    let ids: BTreeMap<String, u32> =
        parse_json("added_tokens.json", "an object of tokens and their ids", text)?;
    let full = |(content, id): (String, u32)| {
        let special = [map, config].iter().any(|named| named.has(&content));
        let token = FullToken {
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: Some(!special),
            special,
        };
        (id, token)
    };
    Ok(ids.into_iter().map(full).collect())
}

/// CLIP's number of positions.
const DEFAULT_LENGTH: usize = 77;

/// `model_max_length`. A tokenizer that knows no limit has transformers' `int(1e30)` there.
fn max_length(number: Option<&serde_json::Number>) -> Result<usize, Error> {
    /// From here on transformers reads the number as "no limit".
    const NO_LIMIT: f64 = 1e20;
    const LONGEST: u64 = 4096;
    match number {
        None => Ok(DEFAULT_LENGTH),
        Some(number) if number.as_f64().is_some_and(|x| x > NO_LIMIT) => Ok(DEFAULT_LENGTH),
        Some(number) => {
            let length = number.as_u64().filter(|length| (3..=LONGEST).contains(length));
            length.map(|length| length as usize).ok_or_else(|| Error::TokenizerFile {
                file: "tokenizer_config.json",
                expected: format!("a model_max_length from 3 to {LONGEST}"),
                found: number.to_string(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        tokenizer_config: Option<&str>,
        special_tokens_map: Option<&str>,
        listed: Vec<ListedToken>,
    ) -> Result<SpecialTokens, Error> {
        let files = TokenizerFiles { tokenizer_config, special_tokens_map, ..TokenizerFiles::default() };
        SpecialTokens::from_files(&files, listed)
    }

    fn flags(tokens: &SpecialTokens, content: &str) -> (bool, bool) {
        let token = tokens.added.iter().find(|token| token.content == content).unwrap();
        (token.normalized, token.special)
    }

    #[test]
    fn a_pad_token_may_be_a_string_or_an_object_in_either_file() {
        let string = r#"{"pad_token": "!"}"#;
        let object = r#"{"pad_token": {"content": "!", "normalized": true}}"#;
        for (config, map, normalized) in [
            (Some(string), None, false),
            (Some(object), None, true),
            (None, Some(string), false),
            (None, Some(object), true),
            (Some(string), Some(object), true),
        ] {
            let tokens = of(config, map, Vec::new()).unwrap();
            assert_eq!(tokens.pad, "!", "{config:?} {map:?}");
            assert_eq!(flags(&tokens, "!"), (normalized, true), "{config:?} {map:?}");
            assert_eq!(tokens.eos, "<|endoftext|>");
        }
    }

    #[test]
    fn a_decoder_in_the_configuration_silences_the_other_files() {
        let config =
            r#"{"pad_token": "!", "added_tokens_decoder": {"0": {"content": "!", "normalized": true}}}"#;
        let map = r#"{"pad_token": "?"}"#;
        let listed = parse_json("tokenizer.json", "", r#"[{"id": 1, "content": "%"}]"#).unwrap();
        let tokens = of(Some(config), Some(map), listed).unwrap();
        assert_eq!(tokens.pad, "!");
        assert_eq!(flags(&tokens, "!"), (true, true));
        assert!(tokens.added.iter().all(|token| token.content != "%"));
    }

    #[test]
    fn lengths_that_say_nothing_mean_clips_77() {
        for (text, expected) in [
            ("{}", Some(77)),
            (r#"{"model_max_length": 16}"#, Some(16)),
            (r#"{"model_max_length": 1000000000000000019884624838656}"#, Some(77)),
            (r#"{"model_max_length": 2}"#, None),
            (r#"{"model_max_length": -1}"#, None),
            (r#"{"model_max_length": 1000000}"#, None),
        ] {
            let tokens = of(Some(text), None, Vec::new());
            assert_eq!(tokens.ok().map(|tokens| tokens.model_max_length), expected, "{text}");
        }
    }

    #[test]
    fn impossible_special_tokens_are_refused() {
        for pad in ["", " ", "a b", "\\u00a0"] {
            let config = format!(r#"{{"pad_token": "{pad}"}}"#);
            let error = of(Some(&config), None, Vec::new()).err().unwrap();
            assert!(error.to_string().contains("without spaces"), "{error}");
        }
        for config in ["", "[]", r#"{"pad_token": 3}"#, r#"{"added_tokens_decoder": {"x": {}}}"#] {
            assert!(of(Some(config), None, Vec::new()).is_err(), "{config}");
        }
    }
}
