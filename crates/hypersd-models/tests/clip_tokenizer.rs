//! The tokenizer against transformers' `CLIPTokenizer` (`reference/clip.py`), and against anything at all.

use std::{fs, path::Path, sync::LazyLock};

use hypersd_models::{
    Error,
    clip::{Tokenizer, TokenizerFiles},
};
use proptest::{collection::vec, prelude::*};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Fixture {
    prompts: Vec<String>,
    /// The texts of the folders whose table is CLIP's own.
    files: BTreeMap<String, BTreeMap<String, String>>,
    tokenizers: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    pad: u32,
    encoded: Vec<ExpectedEncoding>,
}

#[derive(Deserialize)]
struct ExpectedEncoding {
    /// Up to the padding.
    ids: Vec<u32>,
    truncated: Option<String>,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip")
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let text = fs::read_to_string(folder().join("prompts.json")).unwrap();
    serde_json::from_str(&text).unwrap()
});

/// The tokenizer of a fixture folder.
fn open(name: &str) -> Tokenizer {
    let read = |file: &str| fs::read_to_string(folder().join(name).join(file)).ok();
    let (tokenizer, vocab, merges) = (read("tokenizer.json"), read("vocab.json"), read("merges.txt"));
    let (config, map) = (read("tokenizer_config.json"), read("special_tokens_map.json"));
    let files = TokenizerFiles {
        tokenizer: tokenizer.as_deref(),
        vocab: vocab.as_deref(),
        merges: merges.as_deref(),
        tokenizer_config: config.as_deref(),
        special_tokens_map: map.as_deref(),
        ..TokenizerFiles::default()
    };
    Tokenizer::from_files(&files).unwrap()
}

fn assert_encodes(name: &str, tokenizer: &Tokenizer) {
    let Expected { pad, encoded } = &FIXTURE.tokenizers[name];
    assert_eq!(encoded.len(), FIXTURE.prompts.len());
    for (prompt, expected) in FIXTURE.prompts.iter().zip(encoded) {
        let mut ids = expected.ids.clone();
        ids.resize(77, *pad);
        let got = tokenizer.encode(prompt).unwrap();
        assert_eq!(got.ids, ids, "{name}: {prompt:?}");
        assert_eq!(got.truncated, expected.truncated, "{name}: {prompt:?}");
    }
}

#[test]
fn the_embedded_tables_encode_like_transformers() {
    assert!(FIXTURE.prompts.len() >= 280);
    assert_encodes("clip_l", &Tokenizer::clip_l().unwrap());
    assert_encodes("open_clip", &Tokenizer::open_clip().unwrap());
}

#[test]
fn tokens_that_were_added_beside_the_table_are_known() {
    #[derive(Deserialize)]
    struct Added {
        files: BTreeMap<String, String>,
        pad: u32,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        prompt: String,
        ids: Vec<u32>,
    }
    let read = |file: &str| fs::read_to_string(folder().join(file)).unwrap();
    let (vocab, merges) = (read("tiny/vocab.json"), read("tiny/merges.txt"));
    let Added { files, pad, cases } = serde_json::from_str(&read("added.json")).unwrap();
    let files = TokenizerFiles {
        vocab: Some(&vocab),
        merges: Some(&merges),
        tokenizer_config: files.get("tokenizer_config.json").map(String::as_str),
        special_tokens_map: files.get("special_tokens_map.json").map(String::as_str),
        added_tokens: files.get("added_tokens.json").map(String::as_str),
        ..TokenizerFiles::default()
    };
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    for Case { prompt, mut ids } in cases {
        ids.resize(77, pad);
        assert_eq!(tokenizer.encode(&prompt).unwrap().ids, ids, "{prompt:?}");
    }
}

#[test]
fn special_tokens_are_read_from_the_published_layouts() {
    for (name, files) in &FIXTURE.files {
        let text = |file: &str| files.get(file).map(String::as_str);
        let files = TokenizerFiles {
            tokenizer_config: text("tokenizer_config"),
            special_tokens_map: text("special_tokens_map"),
            added_tokens: None,
            ..Default::default()
        };
        assert!(files.tokenizer_config.is_some() && files.special_tokens_map.is_some());
        assert_encodes(name, &Tokenizer::from_files(&files).unwrap());
    }
    assert_encodes("bare", &Tokenizer::from_files(&TokenizerFiles::default()).unwrap());
}

#[test]
fn folders_encode_like_transformers() {
    // vocab.json + merges.txt, tokenizer.json of transformers 5, and a table that lacks most bytes.
    for name in ["tiny", "tiny_v5", "letters"] {
        assert_encodes(name, &open(name));
    }
}

#[test]
fn the_length_is_the_configured_one() {
    let files = TokenizerFiles { tokenizer_config: Some(r#"{"model_max_length": 5}"#), ..Default::default() };
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    assert_eq!(tokenizer.model_max_length(), 5);
    let encoded = tokenizer.encode("a photo of a cat").unwrap();
    assert_eq!(encoded.ids, [49406, 320, 1125, 539, 49407]);
    assert_eq!(encoded.truncated.as_deref(), Some("a cat"));
}

#[test]
fn a_cut_inside_a_character_reports_the_whole_character() {
    let files = TokenizerFiles { tokenizer_config: Some(r#"{"model_max_length": 3}"#), ..Default::default() };
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    // U+10FFFF is four tokens, one per byte.
    let encoded = tokenizer.encode("\u{10ffff} end").unwrap();
    assert_eq!(encoded.truncated.as_deref(), Some("\u{10ffff} end"));
}

#[test]
fn a_megabyte_of_one_word_is_cut_not_choked_on() {
    let encoded = Tokenizer::clip_l().unwrap().encode(&"ab".repeat(500_000)).unwrap();
    assert_eq!(encoded.ids.len(), 77);
    assert_eq!(encoded.ids[76], 49407);
    assert!(encoded.truncated.is_some());
}

/// A table with the four tokens that a tokenizer cannot do without, and one letter.
const LEAST: &str = r#"{"a</w>": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}"#;

#[test]
fn broken_folders_are_errors_that_name_the_file() {
    let pair =
        |vocab, merges| TokenizerFiles { vocab: Some(vocab), merges: Some(merges), ..Default::default() };
    let least = Tokenizer::from_files(&pair(LEAST, "#version: 0.2\n")).unwrap();
    assert_eq!(least.encode("A b").unwrap().ids[..4], [1, 0, 2, 2]);

    for (files, file, part) in [
        (pair("{", ""), "vocab.json", "EOF"),
        (pair("{}", ""), "vocab.json", "<|startoftext|>"),
        (pair(r#"{"<|startoftext|>": 1}"#, ""), "vocab.json", "<|endoftext|>"),
        (pair(LEAST, "a b"), "merges.txt", "`a`"),
        (pair(LEAST, "a</w> a</w>"), "merges.txt", "`a</w>a</w>`"),
        (pair(LEAST, "a"), "merges.txt", "two tokens"),
        (TokenizerFiles { vocab: Some(LEAST), ..Default::default() }, "merges.txt", "vocab.json"),
        (TokenizerFiles { merges: Some(""), ..Default::default() }, "vocab.json", "merges.txt"),
        (TokenizerFiles { tokenizer: Some("{}"), ..Default::default() }, "tokenizer.json", "model"),
        (
            TokenizerFiles { tokenizer_config: Some(r#"{"pad_token": "<pad>"}"#), ..Default::default() },
            "vocab.json",
            "<pad>",
        ),
        (
            TokenizerFiles { special_tokens_map: Some("\u{feff}"), ..Default::default() },
            "special_tokens_map.json",
            "expected value",
        ),
    ] {
        let error = Tokenizer::from_files(&files).unwrap_err();
        assert!(matches!(error, Error::TokenizerFile { .. }));
        let message = error.to_string();
        assert!(message.starts_with(file) && message.contains(part), "{message}");
    }
}

static CLIP_L: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::clip_l().unwrap());
static OPEN_CLIP: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::open_clip().unwrap());
static LETTERS: LazyLock<Tokenizer> = LazyLock::new(|| open("letters"));

proptest! {
    #[test]
    fn any_text_becomes_77_ids_from_begin_to_end(prompt in any_prompt()) {
        for (tokenizer, bos, eos, pad) in
            [(&*CLIP_L, 49406, 49407, 49407), (&*OPEN_CLIP, 49406, 49407, 0), (&*LETTERS, 21, 22, 22)]
        {
            let encoded = tokenizer.encode(&prompt).unwrap();
            prop_assert_eq!(encoded.ids.len(), 77);
            prop_assert_eq!(encoded.ids[0], bos);
            prop_assert!(encoded.ids.contains(&eos));
            match encoded.truncated {
                Some(rest) => {
                    prop_assert_eq!(encoded.ids[76], eos);
                    prop_assert!(!rest.is_empty() && prompt.ends_with(&rest));
                }
                None => prop_assert!(encoded.ids[76] == eos || encoded.ids[76] == pad),
            }
        }
    }

    #[test]
    fn any_files_are_read_or_refused(
        parts in vec(prop_oneof![Just("{".to_string()), Just("}".into()), Just(r#""a</w>": 0,"#.into()), any::<String>()], 0..6),
        which in 0..5,
    ) {
        let text = parts.concat();
        let mut files = TokenizerFiles { vocab: Some(LEAST), merges: Some(""), ..Default::default() };
        match which {
            0 => files.vocab = Some(&text),
            1 => files.merges = Some(&text),
            2 => files.tokenizer = Some(&text),
            3 => files.tokenizer_config = Some(&text),
            _ => files.special_tokens_map = Some(&text),
        }
        if let Ok(tokenizer) = Tokenizer::from_files(&files) {
            prop_assert_eq!(tokenizer.encode("a").unwrap().ids.len(), 77);
        }
    }
}

/// Arbitrary text, with the pieces that the tokenizer treats specially thrown in.
fn any_prompt() -> impl Strategy<Value = String> {
    let special =
        prop::sample::select(vec!["<|startoftext|>", "<|endoftext|>", "<|", "'s", "!", " ", "\n", "\u{301}"]);
    vec(prop_oneof![any::<String>(), special.prop_map(String::from)], 0..12).prop_map(|parts| parts.concat())
}
