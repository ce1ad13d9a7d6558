//! All pictures of a row of a table as one.

use std::{error::Error, fs};

use hypersd::Image;

use crate::Options;

/// Pictures beside each other.
const COLUMNS: usize = 8;

/// Writes a sheet, called as the row is, where sheets are asked for.
pub(crate) fn save(options: &Options, name: &str, pictures: &[Image]) -> Result<(), Box<dyn Error>> {
    let (Some(folder), [first, ..]) = (&options.save, pictures) else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let words: Vec<_> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let path = folder.join(words.join("-").to_lowercase()).with_extension("png");
    Ok(sheet(pictures, first.width(), first.height())?.save(path)?)
}

/// Pictures of one size in rows; what is left of the last row is black.
fn sheet(pictures: &[Image], width: usize, height: usize) -> Result<Image, hypersd::Error> {
    let row_bytes = 3 * width;
    let mut rgb8 = Vec::new();
    for row in pictures.chunks(COLUMNS) {
        for y in 0..height {
            for picture in row {
                rgb8.extend_from_slice(&picture.rgb8()[y * row_bytes..][..row_bytes]);
            }
            rgb8.resize(rgb8.len() + (COLUMNS - row.len()) * row_bytes, 0);
        }
    }
    Ok(Image::from_rgb8(COLUMNS * width, pictures.len().div_ceil(COLUMNS) * height, rgb8)?)
}
