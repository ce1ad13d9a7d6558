//! What becomes of a prompt's words: how many tokens, what is cut off, what is not known.

use std::fmt;

use super::PromptEncoder;
use crate::{Error, Prompt, prompt::emphasis::Part};

/// The tokens that a text encoder makes of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCount {
    /// The encoder's folder in a model: `text_encoder`.
    pub encoder: &'static str,
    /// Tokens that it reads, without begin, end and padding.
    pub tokens: usize,
    /// Tokens that a window has room for: 75.
    pub room: usize,
    /// Windows that they are read in.
    pub windows: usize,
    /// The end of the prompt that has no effect, where there is one.
    pub truncated: Option<String>,
    /// Words that a small vocabulary has only in pieces, which is to say that its encoder does not know them. None in
    /// CLIP's own vocabulary, whose encoders have learnt to read any word from its pieces.
    pub unknown: Vec<String>,
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { encoder, tokens, room, windows, truncated, unknown } = self;
        write!(f, "{encoder}: {tokens} tokens in {windows} of {room}")?;
        if let Some(rest) = truncated {
            write!(f, "; without effect: {rest:?}")?;
        }
        if !unknown.is_empty() {
            write!(f, "; I do not know: {}", unknown.join(", "))?;
        }
        Ok(())
    }
}

impl PromptEncoder {
    /// What each encoder is given of a prompt; nothing of embeddings.
    pub(crate) fn tokens(&self, prompt: &Prompt) -> Result<Vec<TokenCount>, Error> {
        let Some(text) = prompt.words() else { return Ok(Vec::new()) };
        let mut counts = Vec::with_capacity(self.encoders.len());
        for (place, encoder) in self.encoders.iter().enumerate() {
            let windows = encoder.windows(prompt, place)?;
            let mut unknown = Vec::new();
            for part in text.parts(place)? {
                let Part::Text(text, _) = part else { continue };
                let of_part = encoder.tokenizer().unknown_words(&text)?;
                unknown
                    .extend(of_part.into_iter().filter(|word| !unknown.contains(word)).collect::<Vec<_>>());
            }
            counts.push(TokenCount {
                encoder: encoder.traits.encoder,
                tokens: windows.tokens,
                room: encoder.tokenizer().room(),
                windows: windows.windows.len(),
                truncated: windows.truncated,
                unknown,
            });
        }
        Ok(counts)
    }
}
