//! The byte-pair table: tokens with their ids, and the merges in the order of their rank.

use std::collections::HashMap;

use serde::Deserialize;

use super::{json::parse_json, special_tokens::ListedToken};
use crate::Error;

/// The merges that every CLIP shares, for checkpoints that carry no tokenizer. Licence: `data/README.md`.
const CLIP_MERGES: &str = include_str!("../../data/clip-merges.txt");

/// Ends the last symbol of every word.
pub(super) const END_OF_WORD: &str = "</w>";

pub(super) struct Vocabulary {
    pub(super) ids: HashMap<String, u32>,
    pub(super) merges: Vec<(String, String)>,
    /// Where `merges` came from, for messages.
    pub(super) merges_file: &'static str,
}

impl Vocabulary {
    /// The size of CLIP's own vocabulary.
    pub(super) const CLIP: usize = 49_408;

    /// CLIP's own tokens, which follow from the merges: the 256 byte symbols, the same at the end of a word, one
    /// token per merge, then begin and end of text. For an encoder with fewer embeddings, as many merges as it has
    /// room for.
    pub(super) fn clip(size: usize) -> Result<Self, Error> {
        let mut merges = parse_merges(CLIP_MERGES)?;
        merges.truncate(size.saturating_sub(2 * 256 + 2));
        let bytes = byte_symbols();
        let tokens = bytes
            .iter()
            .map(char::to_string)
            .chain(bytes.iter().map(|symbol| format!("{symbol}{END_OF_WORD}")))
            .chain(merges.iter().map(|(a, b)| format!("{a}{b}")))
            .chain(["<|startoftext|>".to_string(), "<|endoftext|>".to_string()]);
        let ids = tokens.zip(0..).collect();
        Ok(Self { ids, merges, merges_file: "merges.txt" })
    }

    /// From the texts of `vocab.json` and `merges.txt`.
    pub(super) fn from_pair(vocab: &str, merges: &str) -> Result<Self, Error> {
        let ids = parse_json("vocab.json", "an object of tokens and their ids", vocab)?;
        Ok(Self { ids, merges: parse_merges(merges)?, merges_file: "merges.txt" })
    }

    /// From the text of `tokenizer.json`, with the added tokens listed there. Its pipeline is not read: it is
    /// CLIP's, or the file is not for this encoder.
    pub(super) fn from_tokenizer_json(text: &str) -> Result<(Self, Vec<ListedToken>), Error> {
        const FILE: &str = "tokenizer.json";
        let file: TokenizerJson = parse_json(FILE, "a byte-pair model", text)?;
        let merges = file.model.merges.into_iter().map(|merge| match merge {
            Merge::Pair(a, b) => Ok((a, b)),
            Merge::Joined(line) => split_merge(&line).ok_or_else(|| bad_merge(FILE, &line)),
        });
        let merges = merges.collect::<Result<_, _>>()?;
        Ok((Self { ids: file.model.vocab, merges, merges_file: FILE }, file.added_tokens))
    }
}

#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeJson,
    #[serde(default)]
    added_tokens: Vec<ListedToken>,
}

#[derive(Deserialize)]
struct BpeJson {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
}

/// `"a b"` in files of tokenizers < 0.20, `["a", "b"]` since.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

/// GPT-2's printable stand-ins for the 256 bytes, in the order of CLIP's ids: the printable bytes stand for
/// themselves and come first, the others are mapped to 256, 257, ….
fn byte_symbols() -> Vec<char> {
    let printable = || (b'!'..=b'~').chain(0xA1..=0xAC).chain(0xAE..=0xFF);
    let others = (0..256 - printable().count() as u32).filter_map(|n| char::from_u32(256 + n));
    printable().map(char::from).chain(others).collect()
}

fn parse_merges(text: &str) -> Result<Vec<(String, String)>, Error> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("#version"))
        .map(|line| split_merge(line).ok_or_else(|| bad_merge("merges.txt", line)))
        .collect()
}

fn split_merge(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    (!b.contains(' ')).then(|| (a.to_string(), b.to_string()))
}

fn bad_merge(file: &'static str, line: &str) -> Error {
    let found = format!("{:?}", line.chars().take(80).collect::<String>());
    Error::TokenizerFile { file, expected: "two tokens with a space between them".to_string(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_own_vocabulary_has_the_published_ids() {
        let vocabulary = Vocabulary::clip(Vocabulary::CLIP).unwrap();
        assert_eq!(vocabulary.ids.len(), 49408);
        assert_eq!(vocabulary.merges.len(), 48894);
        // openai/CLIP and vocab.json of stable-diffusion-v1-5.
        for (token, id) in [
            ("!", 0),
            ("!</w>", 256),
            ("Ġ", 220),
            ("in", 512),
            ("a</w>", 320),
            ("photo</w>", 1125),
            ("<|startoftext|>", 49406),
            ("<|endoftext|>", 49407),
        ] {
            assert_eq!(vocabulary.ids.get(token), Some(&id), "{token:?}");
        }
    }

    #[test]
    fn both_spellings_of_merges_in_tokenizer_json_read_the_same() {
        let json = |merges: &str| {
            format!(
                r#"{{"model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 2}}, "merges": {merges}}}}}"#
            )
        };
        for merges in [r#"["a b"]"#, r#"[["a", "b"]]"#] {
            let (vocabulary, added) = Vocabulary::from_tokenizer_json(&json(merges)).unwrap();
            assert_eq!(vocabulary.merges, [("a".to_string(), "b".to_string())]);
            assert_eq!(vocabulary.ids["ab"], 2);
            assert!(added.is_empty());
        }
    }

    #[test]
    fn broken_tables_are_errors_that_name_the_file() {
        let message = |result: Result<Vocabulary, Error>| result.err().unwrap().to_string();
        for vocab in ["", "{", "[]", r#"{"a": -1}"#, r#"{"a": 1.5}"#, r#"{"a": "b"}"#, r#"{"a": 4294967296}"#]
        {
            assert!(message(Vocabulary::from_pair(vocab, "")).starts_with("vocab.json: "), "{vocab}");
        }
        for merges in ["#version: 0.2\na", "a b c", "a  b"] {
            let text = message(Vocabulary::from_pair("{}", merges));
            assert!(text.starts_with("merges.txt: expected two tokens"), "{text}");
        }
        for json in ["", "{}", r#"{"model": {"vocab": [], "merges": []}}"#] {
            let text = message(Vocabulary::from_tokenizer_json(json).map(|(vocabulary, _)| vocabulary));
            assert!(text.starts_with("tokenizer.json: "), "{text}");
        }
    }
}
