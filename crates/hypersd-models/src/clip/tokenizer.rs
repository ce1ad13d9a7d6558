//! Prompt → 77 token ids, as transformers' `CLIPTokenizer` gives them.

use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    models::bpe::BPE,
    normalizers::{self, Lowercase, NFC, Replace, replace::ReplacePattern},
    pre_tokenizers::{
        self,
        byte_level::ByteLevel,
        split::{Split, SplitPattern},
    },
};

use super::{
    special_tokens::SpecialTokens,
    vocabulary::{END_OF_WORD, Vocabulary},
};
use crate::Error;

/// Words, single digits and runs of anything else (openai/CLIP `simple_tokenizer.py`).
const SPLIT: &str = concat!(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|",
    r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
);

/// CLIP's byte-pair tokenizer.
///
/// A text is brought to NFC, its white space collapsed, lower-cased, split into words and these into byte pairs.
/// There is no mask in Stable Diffusion: the padding is part of what the encoder sees, so it has to be the right
/// one ([`clip_l`](Self::clip_l), [`open_clip`](Self::open_clip)).
#[derive(Debug, Clone)]
pub struct Tokenizer {
    bpe: tokenizers::Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    model_max_length: usize,
}

/// A tokenized prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Begin of text, the prompt, end of text, padding: [`Tokenizer::model_max_length`] ids.
    pub ids: Vec<u32>,
    /// The end of the prompt that did not fit and has no effect, where there is one.
    pub truncated: Option<String>,
}

/// The texts of the files in a `tokenizer` folder; `None` for those that are not there.
///
/// `tokenizer.json` is what transformers ≥ 5 writes; before it was `vocab.json` with `merges.txt`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`; preferred over the two below.
    pub tokenizer: Option<&'a str>,
    /// `vocab.json`, with `merges`.
    pub vocab: Option<&'a str>,
    /// `merges.txt`, with `vocab`.
    pub merges: Option<&'a str>,
    /// `tokenizer_config.json`: special tokens and length.
    pub tokenizer_config: Option<&'a str>,
    /// `special_tokens_map.json`: special tokens, in older folders.
    pub special_tokens_map: Option<&'a str>,
}

impl Tokenizer {
    /// The tokenizer of CLIP ViT-L/14 (SD 1.x, SDXL's first) from the embedded table: pads with `<|endoftext|>`,
    /// 49407.
    ///
    /// # Errors
    /// None for the table as published.
    pub fn clip_l() -> Result<Self, Error> {
        Self::clip_l_of(Vocabulary::CLIP)
    }

    /// [`clip_l`](Self::clip_l) for an encoder of `vocab_size` embeddings: a smaller one knows the first merges only.
    ///
    /// # Errors
    /// None for the table as published.
    pub fn clip_l_of(vocab_size: usize) -> Result<Self, Error> {
        Self::new(Vocabulary::clip(vocab_size)?, &SpecialTokens::clip("<|endoftext|>"))
    }

    /// The tokenizer of the OpenCLIP encoders (SD 2.x, SDXL's second) from the embedded table: pads with `!`, 0.
    ///
    /// # Errors
    /// None for the table as published.
    pub fn open_clip() -> Result<Self, Error> {
        Self::open_clip_of(Vocabulary::CLIP)
    }

    /// [`open_clip`](Self::open_clip) for an encoder of `vocab_size` embeddings: a smaller one knows the first merges
    /// only.
    ///
    /// # Errors
    /// None for the table as published.
    pub fn open_clip_of(vocab_size: usize) -> Result<Self, Error> {
        Self::new(Vocabulary::clip(vocab_size)?, &SpecialTokens::clip("!"))
    }

    /// The tokenizer of a folder. Without a table in the folder the embedded one is used, with what the other
    /// files say of special tokens.
    ///
    /// # Errors
    /// [`Error::TokenizerFile`] for a file that is not what its name says, a merge of unknown tokens, a
    /// special token that is not in the vocabulary, and `vocab.json` without `merges.txt` or the reverse.
    pub fn from_files(files: &TokenizerFiles<'_>) -> Result<Self, Error> {
        let (vocabulary, listed) = match (files.tokenizer, files.vocab, files.merges) {
            (Some(text), _, _) => Vocabulary::from_tokenizer_json(text)?,
            (None, Some(vocab), Some(merges)) => (Vocabulary::from_pair(vocab, merges)?, Vec::new()),
            (None, None, None) => (Vocabulary::clip(Vocabulary::CLIP)?, Vec::new()),
            (None, Some(_), None) => return Err(alone("merges.txt", "vocab.json")),
            (None, None, Some(_)) => return Err(alone("vocab.json", "merges.txt")),
        };
        let special = SpecialTokens::from_files(files.tokenizer_config, files.special_tokens_map, listed)?;
        Self::new(vocabulary, &special)
    }

    fn new(vocabulary: Vocabulary, special: &SpecialTokens) -> Result<Self, Error> {
        let id = |name: &str, token: &str| {
            vocabulary.ids.get(token).copied().ok_or_else(|| Error::TokenizerFile {
                file: "vocab.json",
                expected: format!("the {name} token {token:?}"),
                found: format!("{} other tokens", vocabulary.ids.len()),
            })
        };
        let (bos, eos, pad) = (id("bos", &special.bos)?, id("eos", &special.eos)?, id("pad", &special.pad)?);
        id("unk", &special.unk)?;

        let merges_file = vocabulary.merges_file;
        let bpe = BPE::builder()
            .vocab_and_merges(
                vocabulary.ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                vocabulary.merges,
            )
            .unk_token(special.unk.clone())
            .end_of_word_suffix(END_OF_WORD.to_string())
            .build()
            .map_err(|e| Error::TokenizerFile {
                file: merges_file,
                expected: "merges of known tokens into known tokens".to_string(),
                found: e.to_string(),
            })?;
        let mut bpe = tokenizers::Tokenizer::new(bpe);
        bpe.with_normalizer(Some(normalizer())).with_pre_tokenizer(Some(pre_tokenizer()));
        bpe.add_tokens(&special.added);
        Ok(Self { bpe, bos, eos, pad, model_max_length: special.model_max_length })
    }

    /// The number of ids a prompt becomes: 77 for every published encoder.
    #[must_use]
    pub fn model_max_length(&self) -> usize {
        self.model_max_length
    }

    /// The ids of a prompt: begin of text, as much of the prompt as fits, end of text, padding.
    ///
    /// # Errors
    /// [`Error::Tokenize`] if the `tokenizers` crate gives up on the text, which is not known to happen.
    pub fn encode(&self, prompt: &str) -> Result<Encoded, Error> {
        let encoding = self
            .bpe
            .encode(prompt, false)
            .map_err(|source| Error::Tokenize { length: prompt.len(), source })?;
        let room = self.model_max_length - 2; // begin and end
        let truncated = encoding.get_offsets().get(room).map(|&(start, _)| {
            // A token may begin inside a character.
            prompt[prompt.floor_char_boundary(start)..].to_string()
        });
        let mut ids = Vec::with_capacity(self.model_max_length);
        ids.push(self.bos);
        ids.extend(encoding.get_ids().iter().take(room));
        ids.push(self.eos);
        ids.resize(self.model_max_length, self.pad);
        Ok(Encoded { ids, truncated })
    }
}

fn normalizer() -> normalizers::Sequence {
    let white_space = Replace::new(ReplacePattern::Regex(r"\s+".to_string()), " ");
    normalizers::Sequence::new(vec![
        NFC.into(),
        NormalizerWrapper::from(white_space.expect("a constant that compiles")),
        Lowercase.into(),
    ])
}

fn pre_tokenizer() -> pre_tokenizers::sequence::Sequence {
    let words = Split::new(
        SplitPattern::Regex(SPLIT.to_string()),
        SplitDelimiterBehavior::Removed, // what is between words
        true,
    );
    pre_tokenizers::sequence::Sequence::new(vec![
        PreTokenizerWrapper::from(words.expect("a constant that compiles")),
        ByteLevel::default().add_prefix_space(false).into(),
    ])
}

fn alone(missing: &'static str, present: &str) -> Error {
    Error::TokenizerFile {
        file: missing,
        expected: format!("the file that belongs to {present}"),
        found: "none".to_string(),
    }
}
