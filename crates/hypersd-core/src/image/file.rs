//! Images in files: PNG, JPEG, WebP, BMP, GIF and TIFF in, PNG out.

use std::{
    io::{self, BufReader, Cursor, Read},
    path::Path,
};

use image::{
    DynamicImage, ImageDecoder, ImageError as DecodingError, ImageFormat, ImageReader, RgbImage,
    metadata::Orientation,
};
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

use super::{Image, TextChunk, jpeg};
use crate::{
    error::{Error, ImageError},
    location::Location,
    write::write_whole,
};

impl Image {
    /// Reads a PNG, JPEG, WebP, BMP, GIF (its first frame) or TIFF file, whatever its name.
    ///
    /// Like diffusers' `load_image`, this turns the picture as its EXIF orientation says, makes RGB of gray and
    /// palette, and drops an alpha channel. Of 16-bit channels the upper byte stays; 16-bit gray without more is cut at 255.
    /// The pixels are those that Pillow gives, bit for bit, but for what `docs/parity.md` says.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Unsupported`] for another image format,
    /// [`Error::Format`] for what is no image, is damaged, or is larger than [`MAX_SIDE`](Self::MAX_SIDE) and
    /// [`MAX_PIXELS`](Self::MAX_PIXELS) allow.
    pub fn open(location: impl Into<Location>) -> Result<Self, ImageError> {
        Ok(read(&location.into())?)
    }

    /// Reads the bytes of a picture's file, as [`open`](Self::open) reads the file.
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

/// The formats that are read.
const FORMATS: &str = "PNG, JPEG, WebP, BMP, GIF or TIFF image";

fn read(location: &Location) -> Result<Image, Error> {
    let file = BufReader::new(location.reader()?);
    let reader = ImageReader::new(file).with_guessed_format().map_err(|error| location.io(error))?;
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    match reader.format() {
        Some(Jpeg) => {
            let mut bytes = Vec::new();
            reader.into_inner().read_to_end(&mut bytes).map_err(|error| location.io(error))?;
            if !jpeg::is_whole(&bytes) {
                return Err(format_error(location, "a whole JPEG image", "one that ends early".into()));
            }
            let reader = ImageReader::with_format(Cursor::new(&bytes), Jpeg);
            let decoded = reader.into_decoder().map_err(Unreadable::from);
            decoded
                .and_then(|mut decoder| {
                    check_size(&decoder)?;
                    let orientation = decoder.orientation()?;
                    let pixels = jpeg::decode(&bytes, decoder.dimensions()).map_err(Unreadable::Jpeg)?;
                    Ok(turned(DynamicImage::ImageRgb8(pixels), orientation))
                })
                .map_err(|error| unreadable(location, error))
        }
        Some(Png | WebP | Bmp | Gif | Tiff) => {
            let decoded = reader.into_decoder().map_err(Unreadable::from).and_then(decode);
            decoded.map_err(|error| unreadable(location, error))
        }
        Some(other) => Err(Error::Unsupported {
            origin: location.to_string(),
            found: format!("the image format {other:?}"),
            instead: "convert it to PNG or JPEG".into(),
        }),
        None => Err(format_error(
            location,
            &format!("a {FORMATS}"),
            "none of their signatures at its start".into(),
        )),
    }
}

/// Why an image could not be decoded.
enum Unreadable {
    Size(u32, u32),
    Damaged(DecodingError),
    Jpeg(String),
}

impl From<DecodingError> for Unreadable {
    fn from(error: DecodingError) -> Self {
        Self::Damaged(error)
    }
}

fn check_size(decoder: &impl ImageDecoder) -> Result<(), Unreadable> {
    let (width, height) = decoder.dimensions();
    super::check_size(width as usize, height as usize).map_err(|_| Unreadable::Size(width, height))
}

fn decode(mut decoder: impl ImageDecoder) -> Result<Image, Unreadable> {
    check_size(&decoder)?;
    let orientation = decoder.orientation()?;
    Ok(turned(eight_bits(DynamicImage::from_decoder(decoder)?), orientation))
}

/// Channels of 16 bits as Pillow makes 8 of them.
fn eight_bits(image: DynamicImage) -> DynamicImage {
    let upper = |x: &u16| (x >> 8) as u8;
    let (width, height) = (image.width(), image.height());
    let rgb: Vec<u8> = match &image {
        // Pillow keeps such pictures as numbers, and cuts them where it makes colours of them.
        DynamicImage::ImageLuma16(x) => x.as_raw().iter().flat_map(|&x| [x.min(255) as u8; 3]).collect(),
        DynamicImage::ImageLumaA16(x) => x.as_raw().chunks(2).flat_map(|x| [upper(&x[0]); 3]).collect(),
        DynamicImage::ImageRgb16(x) => x.as_raw().iter().map(upper).collect(),
        DynamicImage::ImageRgba16(x) => x.as_raw().chunks(4).flat_map(|x| x[..3].iter().map(upper)).collect(),
        _ => return image,
    };
    RgbImage::from_raw(width, height, rgb).map_or(image, DynamicImage::ImageRgb8)
}

fn turned(mut image: DynamicImage, orientation: Orientation) -> Image {
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    Image { width: rgb.width() as usize, height: rgb.height() as usize, rgb8: rgb.into_raw() }
}

fn unreadable(location: &Location, error: Unreadable) -> Error {
    let whole = format!("a whole {FORMATS}");
    match error {
        Unreadable::Size(width, height) => {
            format_error(location, &super::sizes(), format!("{width}x{height}"))
        }
        // A file that ends early is damaged; any other failure to read is the system's.
        Unreadable::Damaged(DecodingError::IoError(source))
            if source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            location.io(source)
        }
        Unreadable::Damaged(error) => format_error(location, &whole, error.to_string()),
        Unreadable::Jpeg(error) => format_error(location, &whole, error),
    }
}

fn format_error(location: &Location, expected: &str, found: String) -> Error {
    Error::Format { origin: location.to_string(), expected: expected.into(), found }
}
