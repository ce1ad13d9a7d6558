//! The language of AUTOMATIC1111's web UI: text with weights.
//!
//! ```text
//! prompt  = { part }
//! part    = text | "(" prompt ")" | "(" prompt ":" number ")" | "[" prompt "]" | break | escape
//! escape  = "\(" | "\)" | "\[" | "\]" | "\\"          the character itself; any other "\" is left out
//! break   = the word BREAK, with the white space around it: what follows begins a window of its own
//! number  = [ "+" | "-" ] digits and a point, with white space around it
//! ```
//!
//! - `(x)` weighs 1.1, `[x]` 1/1.1, `(x:n)` n; brackets within brackets multiply.
//! - A bracket that is not closed counts to the end of the prompt, one that was not opened is text, and round and square
//!   ones are counted apart: `(a [b) c]` weighs b with both and c with 1/1.1.
//! - A colon is text but before the number that ends round brackets.
//! - Neighbours of one weight are one piece: `(unnecessary)(brackets)` is one word.
//!
//! What the web UI does over the steps or with several prompts is refused by name: `[a:b:0.5]`, `[a|b]`, `AND`; so is
//! `<lora:…>`.

use super::PromptError;

/// Factor of round brackets; square ones have its inverse.
const ROUND: f64 = 1.1;
const SQUARE: f64 = 1.0 / 1.1;

/// The word that ends a window.
const BREAK: &str = "BREAK";
/// The word between prompts that the web UI draws as one picture.
const AND: &str = "AND";

/// Longest text: the time to read nested brackets grows with the square of it.
const MOST_BYTES: usize = 1 << 16;

/// A part of a weighted prompt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Text of one weight, to be tokenized by itself.
    Text(String, f64),
    /// The end of a window.
    Break,
}

/// Reads a prompt. Neighbouring texts have different weights; there is at least one text or break.
///
/// # Errors
/// [`PromptError`] for what the web UI would do otherwise than by weights.
pub(crate) fn parse(text: &str) -> Result<Vec<Part>, PromptError> {
    if text.len() > MOST_BYTES {
        return Err(PromptError::Long { found: text.len(), most: MOST_BYTES });
    }
    if words(text, AND).next().is_some() {
        return Err(PromptError::And);
    }
    if let Some((found, kind)) = tag(text) {
        return Err(PromptError::Tag { found: found.into(), kind: kind.into() });
    }
    let mut reader = Reader { text, ..Reader::default() };
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        at += reader.read(at, first)?;
    }
    reader.finish()
}

/// Reads from left to right.
#[derive(Debug, Default)]
struct Reader<'a> {
    text: &'a str,
    parts: Vec<Part>,
    round: Vec<Open>,
    square: Vec<Open>,
}

/// A bracket that is not closed yet.
#[derive(Debug)]
struct Open {
    /// Its place in the text.
    at: usize,
    /// The first part that is in it.
    part: usize,
    /// True where there is a `|` directly in it.
    alternates: bool,
}

impl<'a> Reader<'a> {
    /// Reads what begins at a place with this character, and says how many bytes it was.
    fn read(&mut self, at: usize, first: char) -> Result<usize, PromptError> {
        let rest = &self.text[at..];
        match first {
            '\\' => {
                let escaped = rest[1..].chars().next().filter(|c| r"()[]\".contains(*c));
                self.push(escaped.map_or("", |_| &rest[1..2]));
                return Ok(1 + usize::from(escaped.is_some()));
            }
            '(' => self.round.push(Open { at, part: self.parts.len(), alternates: false }),
            '[' => self.square.push(Open { at, part: self.parts.len(), alternates: false }),
            ':' => return self.colon(at, rest),
            ')' => match self.round.pop() {
                Some(open) => self.multiply(open.part, ROUND),
                None => self.push(")"),
            },
            ']' => match self.square.pop() {
                Some(open) if open.alternates => {
                    return Err(PromptError::Alternation { found: self.text[open.at..=at].into() });
                }
                Some(open) => self.multiply(open.part, SQUARE),
                None => self.push("]"),
            },
            _ => {
                let run = &rest[..rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len())];
                self.run(run);
                return Ok(run.len());
            }
        }
        Ok(1)
    }

    /// A colon is text, unless a number and the end of brackets follow.
    fn colon(&mut self, at: usize, rest: &str) -> Result<usize, PromptError> {
        let number = rest[1..].trim_start();
        let number = &number[..number.find(|c| !"+-.0123456789".contains(c)).unwrap_or(number.len())];
        let begin = rest.len() - rest[1..].trim_start().len();
        let after = rest[begin + number.len()..].trim_start();
        let length = rest.len() - after.len() + 1;
        if let Ok(weight) = number.parse::<f64>() {
            if after.starts_with(')')
                && let Some(open) = self.round.pop()
            {
                self.multiply(open.part, weight);
                return Ok(length);
            }
            if after.starts_with(']')
                && let Some(Open { at: begin, .. }) = self.innermost_square()
            {
                let begin = *begin;
                return Err(PromptError::Editing { found: self.text[begin..at + length].into() });
            }
        }
        self.push(":");
        Ok(1)
    }

    /// Text without brackets, escapes and colons.
    fn run(&mut self, run: &str) {
        if run.contains('|')
            && let Some(open) = self.innermost_square()
        {
            open.alternates = true;
        }
        let mut from = 0;
        for at in words(run, BREAK) {
            self.push(run[from..at].trim_end());
            self.parts.push(Part::Break);
            let rest = &run[at + BREAK.len()..];
            from = run.len() - rest.trim_start().len();
        }
        self.push(&run[from..]);
    }

    /// The open square bracket that nothing is open in.
    fn innermost_square(&mut self) -> Option<&mut Open> {
        let round = self.round.last().map(|open| open.at);
        self.square.last_mut().filter(|open| Some(open.at) > round)
    }

    fn push(&mut self, text: &str) {
        self.parts.push(Part::Text(text.into(), 1.0));
    }

    /// Multiplies the weights from a part to the last.
    fn multiply(&mut self, first: usize, by: f64) {
        for part in &mut self.parts[first..] {
            if let Part::Text(_, weight) = part {
                *weight *= by;
            }
        }
    }

    /// Closes what is open, and joins neighbours of one weight.
    fn finish(mut self) -> Result<Vec<Part>, PromptError> {
        for (open, by) in
            [(std::mem::take(&mut self.round), ROUND), (std::mem::take(&mut self.square), SQUARE)]
        {
            for open in open {
                self.multiply(open.part, by);
            }
        }
        let mut joined: Vec<Part> = Vec::new();
        for part in self.parts {
            match (joined.last_mut(), part) {
                (Some(Part::Text(text, weight)), Part::Text(more, same)) if *weight == same => *text += &more,
                (_, Part::Text(text, weight)) if !(weight as f32).is_finite() => {
                    return Err(PromptError::Weight { text });
                }
                (_, part) => joined.push(part),
            }
        }
        if joined.is_empty() {
            joined.push(Part::Text(String::new(), 1.0));
        }
        Ok(joined)
    }
}

/// The places of a word in a text, by itself: no letter, digit or underscore beside it.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(of_a_word);
        let after = text[at + word.len()..].chars().next().is_some_and(of_a_word);
        !before && !after
    })
}

/// The first `<kind:…>` of those that load something, and its kind.
fn tag(text: &str) -> Option<(&str, &str)> {
    const KINDS: [&str; 3] = ["lora", "lyco", "hypernet"];
    text.match_indices('<').find_map(|(at, _)| {
        let kind = KINDS
            .into_iter()
            .find(|kind| text[at + 1..].strip_prefix(kind).is_some_and(|rest| rest.starts_with(':')))?;
        let end = at + text[at..].find('>')?;
        Some((&text[at..=end], kind))
    })
}

#[cfg(test)]
mod tests;
