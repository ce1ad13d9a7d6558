//! Text that travels in a PNG file beside the pixels.

use std::io::{BufReader, ErrorKind, Write};

use png::{Decoder, DecodingError, Encoder, EncodingError, Limits};

use crate::{
    error::{Error, ImageError},
    location::{Location, Reader},
};

/// Longest keyword that PNG allows.
const MAX_KEYWORD: usize = 79;
/// Bytes of chunks before the pixels that a file may make us keep.
const MAX_TEXT: usize = 4 << 20;

/// Text in a PNG file, under a keyword. Several chunks may have the same keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChunk {
    /// The kind of text, such as `parameters`: 1 to 79 printable ASCII characters.
    pub keyword: String,
    /// The text, without NUL. Lines end with `\n`.
    pub text: String,
}

impl TextChunk {
    /// The text chunks of a PNG file that stand before its pixels, where programs put them.
    ///
    /// ```no_run
    /// use hypersd_core::TextChunk;
    ///
    /// for chunk in TextChunk::read("cat.png")? {
    ///     println!("{}: {}", chunk.keyword, chunk.text);
    /// }
    /// # Ok::<(), hypersd_core::ImageError>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] for what is no PNG file, is damaged, or has more
    /// than 4 MB of text.
    pub fn read(location: impl Into<Location>) -> Result<Vec<Self>, ImageError> {
        let location = location.into();
        let chunks = read(BufReader::new(location.reader()?)).map_err(|error| match error {
            DecodingError::IoError(source) if source.kind() != ErrorKind::UnexpectedEof => {
                location.io(source)
            }
            error => Error::Format {
                origin: location.to_string(),
                expected: "a whole PNG image".into(),
                found: error.to_string(),
            },
        });
        Ok(chunks?)
    }

    /// Checks what PNG demands of a chunk.
    pub(super) fn check(&self) -> Result<(), Error> {
        let printable = self.keyword.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        if !printable
            || self.keyword.trim() != self.keyword
            || !(1..=MAX_KEYWORD).contains(&self.keyword.len())
        {
            return Err(Error::Argument {
                argument: "keyword",
                expected: format!("1 to {MAX_KEYWORD} printable ASCII characters"),
                found: format!("{:?}", self.keyword),
            });
        }
        if let Some(at) = self.text.find('\0') {
            return Err(Error::Argument {
                argument: "text",
                expected: "text without NUL".into(),
                found: format!("NUL at byte {at} of the text for {:?}", self.keyword),
            });
        }
        Ok(())
    }

    /// Adds the chunk to a file: as Latin-1 where that can hold it, which more programs read, else as UTF-8.
    pub(super) fn add_to<W: Write>(&self, encoder: &mut Encoder<'_, W>) -> Result<(), EncodingError> {
        let (keyword, text) = (self.keyword.clone(), self.text.clone());
        match text.chars().all(|c| u32::from(c) <= 0xff) {
            true => encoder.add_text_chunk(keyword, text),
            false => encoder.add_itxt_chunk(keyword, text),
        }
    }
}

/// In the order of the three kinds of chunks, not of the file. Compressed text is unfolded to 2 MB at most, by
/// `decompress_text`.
fn read(file: BufReader<Reader>) -> Result<Vec<TextChunk>, DecodingError> {
    let reader = Decoder::new_with_limits(file, Limits { bytes: MAX_TEXT }).read_info()?;
    let info = reader.info();
    let mut chunks = Vec::new();
    let mut push = |keyword: String, text: String| chunks.push(TextChunk { keyword, text });
    for chunk in info.uncompressed_latin1_text.iter().cloned() {
        push(chunk.keyword, chunk.text);
    }
    for mut chunk in info.compressed_latin1_text.iter().cloned() {
        chunk.decompress_text()?;
        push(chunk.keyword.clone(), chunk.get_text()?);
    }
    for mut chunk in info.utf8_text.iter().cloned() {
        chunk.decompress_text()?;
        push(chunk.keyword.clone(), chunk.get_text()?);
    }
    Ok(chunks)
}
