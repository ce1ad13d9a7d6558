//! Images in files: PNG and JPEG in, PNG out.

use std::{
    io::{self, BufRead, BufReader, Cursor, Read, Seek},
    path::Path,
};

use image::{DynamicImage, ImageDecoder, ImageError as DecodingError, ImageFormat, ImageReader};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{Image, TextChunk, jpeg};
use crate::{
    error::{Error, ImageError},
    location::Location,
    write::write_whole,
};

impl Image {
    /// Reads a PNG or JPEG file, whatever its name.
    ///
    /// Like diffusers' `load_image`, this turns the picture as its EXIF orientation says, makes RGB of gray and
    /// palette, and drops an alpha channel. 16-bit channels are rounded to 8.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Unsupported`] for another image format,
    /// [`Error::Format`] for what is no image, is damaged, or has a side over [`MAX_SIDE`](Self::MAX_SIDE).
    pub fn open(location: impl Into<Location>) -> Result<Self, ImageError> {
        Ok(read(&location.into())?)
    }

    /// Reads the bytes of a PNG or JPEG file, as [`open`](Self::open) reads the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::Format`], as there; they call the bytes `picture`.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, ImageError> {
        Self::open(Location::of_bytes("picture", bytes.into()))
    }

    /// The bytes of a PNG file with text in it, for whoever writes no file: what [`save_with`](Self::save_with) would write.
    /// Its text is read by [`TextChunk::read`] of [`Location::of_bytes`].
    ///
    /// ```
    /// use hypersd_core::{Image, Location, TextChunk};
    ///
    /// let image = Image::from_rgb8(8, 8, vec![128; 192])?;
    /// let text = TextChunk { keyword: "Comment".into(), text: "gray".into() };
    /// let png = image.encode(&[text.clone()])?;
    /// assert_eq!(Image::from_bytes(png.clone())?, image);
    /// assert_eq!(TextChunk::read(Location::of_bytes("gray.png", png))?, [text]);
    /// # Ok::<(), hypersd_core::ImageError>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for text that PNG cannot hold.
    pub fn encode(&self, text: &[TextChunk]) -> Result<Vec<u8>, ImageError> {
        text.iter().try_for_each(TextChunk::check)?;
        Ok(self.png(text).map_err(|error| Location::from("picture").io(error))?)
    }

    /// Writes a PNG file.
    ///
    /// The file appears whole or not at all: it is written under another name beside its place, and renamed. A file
    /// that was there before is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder does not exist or cannot be written, [`Error::Unsupported`] for a name that
    /// promises another image format.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ImageError> {
        self.save_with(path, &[])
    }

    /// Writes a PNG file as [`save`](Self::save) does, with text in it: see [`TextChunk::read`].
    ///
    /// # Errors
    /// As [`save`](Self::save), and [`Error::Argument`] for text that PNG cannot hold.
    pub fn save_with(&self, path: impl AsRef<Path>, text: &[TextChunk]) -> Result<(), ImageError> {
        let path = path.as_ref();
        text.iter().try_for_each(TextChunk::check)?;
        if let Ok(other) = ImageFormat::from_path(path)
            && other != ImageFormat::Png
        {
            return Err(ImageError(Error::Unsupported {
                origin: path.display().to_string(),
                found: format!("writing {other:?}"),
                instead: "give a name that ends in .png".into(),
            }));
        }
        let png = self.png(text).map_err(|error| Location::from(path).io(error))?;
        Ok(write_whole(path, &png)?)
    }

    fn png(&self, text: &[TextChunk]) -> io::Result<Vec<u8>> {
        let mut png = Vec::new();
        let side = |side: usize| u32::try_from(side).map_err(io::Error::other);
        let mut encoder = Encoder::new(&mut png, side(self.width)?, side(self.height)?);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::Fast);
        encoder.set_filter(Filter::Adaptive);
        for chunk in text {
            chunk.add_to(&mut encoder)?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb8)?;
        writer.finish()?;
        Ok(png)
    }
}

fn read(location: &Location) -> Result<Image, Error> {
    let file = BufReader::new(location.reader()?);
    let reader = ImageReader::new(file).with_guessed_format().map_err(|error| location.io(error))?;
    match reader.format() {
        Some(ImageFormat::Png) => decode(reader).map_err(|error| unreadable(location, error)),
        Some(format @ ImageFormat::Jpeg) => {
            let mut bytes = Vec::new();
            reader.into_inner().read_to_end(&mut bytes).map_err(|error| location.io(error))?;
            if !jpeg::is_whole(&bytes) {
                return Err(format_error(location, "a whole JPEG image", "one that ends early".into()));
            }
            decode(ImageReader::with_format(Cursor::new(bytes), format))
                .map_err(|error| unreadable(location, error))
        }
        Some(other) => Err(Error::Unsupported {
            origin: location.to_string(),
            found: format!("the image format {other:?}"),
            instead: "convert it to PNG or JPEG".into(),
        }),
        None => Err(format_error(location, "a PNG or JPEG image", "neither signature at its start".into())),
    }
}

/// Why an image could not be decoded.
enum Unreadable {
    Size(u32, u32),
    Damaged(DecodingError),
}

impl From<DecodingError> for Unreadable {
    fn from(error: DecodingError) -> Self {
        Self::Damaged(error)
    }
}

fn decode(reader: ImageReader<impl BufRead + Seek>) -> Result<Image, Unreadable> {
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    super::check_size(width as usize, height as usize).map_err(|_| Unreadable::Size(width, height))?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    Ok(Image { width: rgb.width() as usize, height: rgb.height() as usize, rgb8: rgb.into_raw() })
}

fn unreadable(location: &Location, error: Unreadable) -> Error {
    match error {
        Unreadable::Size(width, height) => {
            let expected = format!("sides from 1 to {}", Image::MAX_SIDE);
            format_error(location, &expected, format!("{width}x{height}"))
        }
        // A file that ends early is damaged; any other failure to read is the system's.
        Unreadable::Damaged(DecodingError::IoError(source))
            if source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            location.io(source)
        }
        Unreadable::Damaged(error) => format_error(location, "a whole PNG or JPEG image", error.to_string()),
    }
}

fn format_error(location: &Location, expected: &str, found: String) -> Error {
    Error::Format { origin: location.to_string(), expected: expected.into(), found }
}
