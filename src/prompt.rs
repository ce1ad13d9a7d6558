//! Prompts: text as it stands, text with weights, or what text encoders made of it before.

mod embeds;
pub(crate) mod emphasis;

use std::fmt;

pub use embeds::PromptEmbeds;
use emphasis::Part;

use crate::Error;

/// A prompt. Text becomes one by `into()`, and is then read as it stands, as diffusers reads it.
///
/// ```
/// use hypersd::{Prompt, Request};
///
/// let plain: Prompt = "a photo of a cat".into();
/// assert_eq!(plain, Prompt::plain("a photo of a cat"));
///
/// // AUTOMATIC1111's language: weights, and as many windows of 75 tokens as it takes.
/// let request = Request {
///     prompt: Prompt::weighted("a (photo:0.8) of a ((cat)) BREAK golden hour"),
///     negative: Some("blurry".into()),
///     guidance: 5.0,
///     ..Request::default()
/// };
/// # request.check()?;
/// # Ok::<(), hypersd::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    words: Words,
}

#[derive(Debug, Clone, PartialEq)]
enum Words {
    Text(Text),
    Embeds(PromptEmbeds),
}

/// Text, and how it is to be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// For the second encoder; `None` is the same.
    pub(crate) second: Option<String>,
    pub(crate) weighted: bool,
    pub(crate) long: bool,
    pub(crate) clip_skip: usize,
}

impl Prompt {
    /// Text as it stands: brackets are text, and what is longer than a window of 75 tokens is cut off, with a
    /// [`Notice`](crate::Notice), unless it is [`long`](Self::long).
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Text { text: text.into(), ..Text::default() }.into()
    }

    /// Text with weights, as AUTOMATIC1111's web UI reads it (`(x)`, `(x:1.2)`, `[x]`, `\(`, `BREAK`), in as many windows
    /// of 75 tokens as it takes. `docs/prompts.md` has the grammar. What it does not have is refused by
    /// [`Request::check`](crate::Request::check).
    #[must_use]
    pub fn weighted(text: impl Into<String>) -> Self {
        Text { text: text.into(), weighted: true, ..Text::default() }.into()
    }

    /// The same in as many windows of 75 tokens as it takes. Embeddings are as long as they are.
    #[must_use]
    pub fn long(self) -> Self {
        self.map(|text| Text { long: true, ..text })
    }

    /// The same with other text, read in the same way, for SDXL's second text encoder (diffusers' `prompt_2`); without it
    /// both are given the same. A model of one encoder does not read it.
    #[must_use]
    pub fn with_second(self, text: impl Into<String>) -> Self {
        self.map(|first| Text { second: Some(text.into()), ..first })
    }

    /// The same with the last `layers` layers of the text encoders left out (diffusers' `clip_skip`, which is one less than
    /// what other programs call so). diffusers never leaves out layers for a negative prompt; others do.
    #[must_use]
    pub fn with_clip_skip(self, layers: usize) -> Self {
        self.map(|text| Text { clip_skip: layers, ..text })
    }

    /// The text as it was given; none of embeddings.
    #[must_use]
    pub fn text(&self) -> &str {
        self.words().map_or("", |text| &text.text)
    }

    /// The text for SDXL's second text encoder, where it is another.
    #[must_use]
    pub fn second(&self) -> Option<&str> {
        self.words()?.second.as_deref()
    }

    /// True where the text is read for weights.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.words().is_some_and(|text| text.weighted)
    }

    /// True where the text takes as many windows as it needs.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.words().is_some_and(Text::is_long)
    }

    /// The number of layers that are left out.
    #[must_use]
    pub fn clip_skip(&self) -> usize {
        self.words().map_or(0, |text| text.clip_skip)
    }

    /// The embeddings, where it is made of them.
    #[must_use]
    pub fn embeds(&self) -> Option<&PromptEmbeds> {
        match &self.words {
            Words::Text(_) => None,
            Words::Embeds(embeds) => Some(embeds),
        }
    }

    /// The prompt as a refiner is given it: the same text, or the embeddings for one.
    ///
    /// # Errors
    /// [`Error::Request`] where there are embeddings, but none for a refiner.
    pub(crate) fn for_refiner(&self) -> Result<Self, Error> {
        let Some(embeds) = self.embeds() else { return Ok(self.clone()) };
        let refiner = embeds.refiner().cloned().ok_or_else(|| Error::Request {
            option: "prompt_embeds",
            expected:
                "embeddings for the refiner too (`Pipeline::encode_prompt`, `PromptEmbeds::with_refiner`)"
                    .into(),
            found: "those for the base alone".into(),
        })?;
        Ok(refiner.into())
    }

    /// The text and how it is read, where it is made of text.
    pub(crate) fn words(&self) -> Option<&Text> {
        match &self.words {
            Words::Text(text) => Some(text),
            Words::Embeds(_) => None,
        }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// [`Error::Prompt`] for what is not in the grammar.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(text) = self.words() else { return Ok(()) };
        text.parts(0)?;
        text.parts(1)?;
        Ok(())
    }

    fn map(self, change: impl FnOnce(Text) -> Text) -> Self {
        match self.words {
            Words::Text(text) => change(text).into(),
            Words::Embeds(_) => self,
        }
    }
}

impl Text {
    pub(crate) fn is_long(&self) -> bool {
        self.long || self.weighted
    }

    /// The text for an encoder, by its place in the family.
    pub(crate) fn of(&self, encoder: usize) -> &str {
        let second = self.second.as_deref().filter(|_| encoder > 0);
        second.unwrap_or(&self.text)
    }

    /// The text for an encoder in parts of one weight.
    pub(crate) fn parts(&self, encoder: usize) -> Result<Vec<Part>, PromptError> {
        match self.weighted {
            true => emphasis::parse(self.of(encoder)),
            false => Ok(vec![Part::Text(self.of(encoder).into(), 1.0)]),
        }
    }
}

impl Default for Prompt {
    /// The empty text.
    fn default() -> Self {
        Text::default().into()
    }
}

impl From<Text> for Prompt {
    fn from(text: Text) -> Self {
        Self { words: Words::Text(text) }
    }
}

impl From<PromptEmbeds> for Prompt {
    fn from(embeds: PromptEmbeds) -> Self {
        Self { words: Words::Embeds(embeds) }
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

impl From<&String> for Prompt {
    fn from(text: &String) -> Self {
        Self::plain(text)
    }
}

/// The text.
impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A weighted prompt that says more than weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// One prompt in some steps and another in others.
    #[error(
        "prompt: {found} is prompt editing, which hypersd does not do; take one of the two, or write \\[ and \\] for \
         brackets that are text"
    )]
    Editing {
        /// The brackets as they were given.
        found: String,
    },
    /// Words that take turns from step to step.
    #[error(
        "prompt: {found} is alternation, which hypersd does not do; take one of the words, or write \\[ and \\] for \
         brackets that are text"
    )]
    Alternation {
        /// The brackets as they were given.
        found: String,
    },
    /// Several prompts for one picture.
    #[error(
        "prompt: AND composes prompts, which hypersd does not do; write `and` for the word, or draw with the mean of \
         both (`PromptEmbeds::lerp`)"
    )]
    And,
    /// A file to be loaded.
    #[error(
        "prompt: {found} loads a file, which a prompt does not do here; {}",
        if *kind == "hypernet" { "hypernetworks are not supported" }
        else { "give it as --lora FILE=WEIGHT (`PipelineBuilder::lora`)" }
    )]
    Tag {
        /// The tag as it was given.
        found: String,
        /// Its kind: `lora`.
        kind: String,
    },
    /// A weight that is no number any more.
    #[error("prompt: the weight of {text:?} is too large for a number; take fewer brackets around it")]
    Weight {
        /// The text of that weight.
        text: String,
    },
    /// A text that is too long to be read.
    #[error("prompt: expected at most {most} bytes with weights, found {found}")]
    Long {
        /// Its size in bytes.
        found: usize,
        /// The most that there may be.
        most: usize,
    },
}
