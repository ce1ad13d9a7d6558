//! The options of prompts: how they are read, and words of one's own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use hypersd::Prompt;

use crate::{numbers::whole, source::split_last};

/// How the prompts are read.
#[derive(Debug, Args)]
pub(crate) struct WordOptions {
    /// Reads the prompts as A1111 writes them: (x), (x:1.2), [x], \(, BREAK; with --long
    #[arg(long)]
    weighted: bool,
    /// Reads prompts that are longer than 75 tokens in windows of 75 [default: cuts them off, with a note]
    #[arg(long)]
    long: bool,
    /// How many last layers of the text encoders are left out for the prompt, as diffusers counts them: one less than
    /// A1111's "Clip skip"
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = whole("a whole number of layers, 0 or more")
    )]
    clip_skip: usize,
    /// Textual inversion: embeddings that stand for WORD; repeatable [WORD: the one in diffusers' files, else the file's
    /// name]
    #[arg(
        long = "embedding",
        value_name = "FILE[=WORD]",
        value_parser = OsStringValueParser::new().try_map(Embedding::parse)
    )]
    pub(crate) embeddings: Vec<Embedding>,
}

impl WordOptions {
    /// The text to draw.
    pub(crate) fn prompt(&self, text: &str) -> Prompt {
        // diffusers leaves out no layers for the negative prompt.
        self.negative(text).with_clip_skip(self.clip_skip)
    }

    /// The text to steer away from.
    pub(crate) fn negative(&self, text: &str) -> Prompt {
        match (self.weighted, self.long) {
            (true, _) => Prompt::weighted(text),
            (false, true) => Prompt::plain(text).long(),
            (false, false) => Prompt::plain(text),
        }
    }
}

/// `--embedding`.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    pub(crate) file: PathBuf,
    pub(crate) word: Option<String>,
}

impl Embedding {
    /// `FILE` or `FILE=WORD`. A file name may itself hold `=`, so a file of the whole name comes first.
    fn parse(given: OsString) -> Result<Self, String> {
        match split_last(&given) {
            Some(_) if Path::new(&given).exists() => Ok(Self { file: given.into(), word: None }),
            Some((_, "")) => Err("expected FILE or FILE=WORD, found no word".into()),
            Some((file, word)) => Ok(Self { file: file.into(), word: Some(word.into()) }),
            None => Ok(Self { file: given.into(), word: None }),
        }
    }
}
