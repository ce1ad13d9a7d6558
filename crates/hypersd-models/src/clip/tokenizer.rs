//! Prompt → 77 token ids, as transformers' `CLIPTokenizer` gives them.

use std::{collections::BTreeMap, ops::Range};

use tokenizers::{
    AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
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
    /// True where the vocabulary is CLIP's, which knows every word by its pieces.
    whole_vocabulary: bool,
    /// The vectors of the words that were added, by the id that the table gave the word.
    words: BTreeMap<u32, Range<u32>>,
}

/// A token of a text, or a vector of a word that was [added](Tokenizer::with_words).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The id that the encoder is given.
    pub id: u32,
    /// Where in the text it begins, in bytes.
    pub start: usize,
    /// True for all vectors of an added word but its first.
    pub continues: bool,
}

/// A tokenized prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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
    /// `added_tokens.json`: tokens beside the table, with their ids, in older folders.
    pub added_tokens: Option<&'a str>,
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
        let special = SpecialTokens::from_files(files, listed)?;
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

        let whole_vocabulary = vocabulary.ids.len() >= Vocabulary::CLIP;
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
        let (model_max_length, words) = (special.model_max_length, BTreeMap::new());
        Ok(Self { bpe, bos, eos, pad, model_max_length, whole_vocabulary, words })
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
        let tokens = self.tokens(prompt)?;
        let truncated = tokens.get(self.room()).map(|token| prompt[token.start..].to_string());
        let ids: Vec<u32> = tokens.iter().take(self.room()).map(|token| token.id).collect();
        Ok(Encoded { ids: self.window(&ids), truncated })
    }

    /// The number of tokens that a window has room for, between begin and end of text: 75 for every published encoder.
    #[must_use]
    pub fn room(&self) -> usize {
        self.model_max_length - 2
    }

    /// All tokens of a text, however many, without begin and end.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn tokens(&self, text: &str) -> Result<Vec<Token>, Error> {
        let encoding = self.split(text)?;
        let mut tokens = Vec::with_capacity(encoding.get_ids().len());
        for (&id, &(start, _)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            // A token may begin inside a character.
            let start = text.floor_char_boundary(start);
            let vectors = self.words.get(&id).cloned().unwrap_or(id..id + 1);
            let first = vectors.start;
            tokens.extend(vectors.map(|id| Token { id, start, continues: id != first }));
        }
        Ok(tokens)
    }

    /// What the encoder is given of at most [`room`](Self::room) ids: begin of text, the ids, end of text, padding.
    ///
    /// # Panics
    /// For more ids than there is room for.
    #[must_use]
    pub fn window(&self, ids: &[u32]) -> Vec<u32> {
        assert!(ids.len() <= self.room(), "{} ids in a window of {}", ids.len(), self.room());
        let mut window = Vec::with_capacity(self.model_max_length);
        window.push(self.bos);
        window.extend(ids);
        window.push(self.eos);
        window.resize(self.model_max_length, self.pad);
        window
    }

    /// The words of a text that the vocabulary has only in pieces, in their order and each once; none in CLIP's own
    /// vocabulary, whose encoders have learnt to read any word from its pieces. An encoder with a smaller one has not.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn unknown_words(&self, text: &str) -> Result<Vec<String>, Error> {
        let mut unknown: Vec<String> = Vec::new();
        if self.whole_vocabulary {
            return Ok(unknown);
        }
        let encoding = self.split(text)?;
        let pieces: Vec<_> = encoding.get_word_ids().iter().zip(encoding.get_offsets()).collect();
        for word in pieces.chunk_by(|(a, _), (b, _)| a == b && a.is_some()) {
            let [(_, first), .., (_, last)] = word else { continue };
            let range = text.floor_char_boundary(first.0)..text.ceil_char_boundary(last.1);
            let word = text.get(range).unwrap_or_default().to_lowercase();
            if word.chars().any(char::is_alphabetic) && !unknown.contains(&word) {
                unknown.push(word);
            }
        }
        Ok(unknown)
    }

    /// The same tokenizer with words of one's own (textual inversion), each with the number of its vectors. A word is
    /// found wherever a text has it, in upper or lower case, as diffusers finds it, and becomes as many ids as it has
    /// vectors: from `first_id` on, in the order given.
    ///
    /// # Errors
    /// [`Error::Word`] for one that is empty, has white space in it, is in the vocabulary or comes twice.
    pub fn with_words(&self, first_id: u32, words: &[(String, usize)]) -> Result<Self, Error> {
        let mut extended = self.clone();
        let mut next = first_id;
        for (i, (word, vectors)) in words.iter().enumerate() {
            let refuse = |reason| Err(Error::Word { word: word.clone(), reason });
            if word.is_empty() || word.contains(char::is_whitespace) {
                return refuse("expected at least one character, and no white space");
            }
            // Matching is on lower-cased text: two spellings of one word are one.
            let lower = word.to_lowercase();
            let known = |word: &str| self.bpe.token_to_id(word).is_some();
            if known(word) || known(&lower) {
                return refuse("it is in the tokenizer's vocabulary already; give the file another word");
            }
            if words[..i].iter().any(|(other, _)| other.to_lowercase() == lower) {
                return refuse("it stands for two files; give one of them another word");
            }
            extended.bpe.add_tokens(&[AddedToken::from(word.clone(), false).normalized(true)]);
            let id = extended.bpe.token_to_id(word).ok_or_else(|| Error::Word {
                word: word.clone(),
                reason: "the tokenizer does not take it; give the file another word",
            })?;
            let end = next.saturating_add(u32::try_from(*vectors).unwrap_or(u32::MAX));
            extended.words.insert(id, next..end);
            next = end;
        }
        Ok(extended)
    }

    fn split(&self, text: &str) -> Result<tokenizers::Encoding, Error> {
        self.bpe.encode(text, false).map_err(|source| Error::Tokenize { length: text.len(), source })
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
