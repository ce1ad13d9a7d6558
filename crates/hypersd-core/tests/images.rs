//! Images against Pillow and diffusers, what holds for every image, and files that are none.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use hypersd_core::{ByteSource, Error, HostTensor, Image, ImageError, Location, PixelRange, TextChunk};
use hypersd_testing::{Array, fixture};
use proptest::prelude::*;

/// JPEG decoders differ in the inverse DCT and in how they widen the colour planes.
const JPEG_TOLERANCE: u8 = 4;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn reference() -> BTreeMap<String, Array> {
    fixture(fixtures().join("images.safetensors"))
}

/// The image in an array `[H, W, 3]`.
fn image(array: &Array) -> Image {
    let &[height, width, 3] = array.shape.as_slice() else { panic!("shape {:?}", array.shape) };
    Image::from_rgb8(width, height, array.data.iter().map(|&x| x as u8).collect()).expect("an image")
}

#[test]
fn resize_is_pillows() {
    let reference = reference();
    let mut cases = 0;
    for (name, from) in &reference {
        let Some(case) = name.strip_prefix("resize/").and_then(|name| name.strip_suffix("/from")) else {
            continue;
        };
        let (from, to) = (image(from), image(&reference[&format!("resize/{case}/to")]));
        let got = from.resize(to.width(), to.height()).expect("a size in range");
        assert_eq!(got.rgb8(), to.rgb8(), "case {case}: {from:?} to {to:?}");
        cases += 1;
    }
    assert!(cases >= 50, "{cases} cases");
}

#[test]
fn tensors_are_the_image_processors() {
    let reference = reference();
    let image = image(&reference["processor/image"]);
    let resized = image.resize(64, 48).expect("a size in range");
    for (name, got) in [
        ("signed", image.to_tensor(PixelRange::Signed)),
        ("unit", image.to_tensor(PixelRange::Unit)),
        ("resized_64x48", resized.to_tensor(PixelRange::Signed)),
    ] {
        let want = &reference[&format!("processor/{name}")];
        assert_eq!(got.shape, want.shape, "{name}");
        assert_eq!(got.to_f32(), want.data, "{name}");
    }
}

#[test]
fn pixels_are_the_image_processors() {
    let reference = reference();
    let decoded = &reference["processor/decoded"];
    let want = &reference["processor/pixels"];
    let got = Image::from_tensor(&HostTensor::from_f32(decoded.shape.clone(), decoded.data.clone()))
        .expect("finite pixels");
    assert_eq!(got.len(), 2);
    let got: Vec<f32> = got.iter().flat_map(|image| image.rgb8()).map(|&byte| f32::from(byte)).collect();
    assert_eq!(got, want.data);
}

#[test]
fn files_of_every_mode_are_read_as_diffusers_does() {
    let mut files = 0;
    for (name, want) in &reference() {
        let Some(name) = name.strip_prefix("file/") else { continue };
        let (got, want) = (Image::open(fixtures().join("images").join(name)).expect(name), image(want));
        assert_eq!((got.width(), got.height()), (want.width(), want.height()), "{name}");
        let tolerance = if name.ends_with(".jpg") { JPEG_TOLERANCE } else { 0 };
        let error = got.rgb8().iter().zip(want.rgb8()).map(|(g, w)| g.abs_diff(*w)).max();
        assert!(error <= Some(tolerance), "{name}: off by {error:?}");
        files += 1;
    }
    assert_eq!(files, fs::read_dir(fixtures().join("images")).expect("the folder").count());
}

/// Bytes that nobody sees but by reading; reading the one at `broken` fails.
struct Ranges {
    bytes: Vec<u8>,
    broken: usize,
}

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        if (start..start + into.len()).contains(&self.broken) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the line is dead"));
        }
        self.bytes.read_at(offset, into)
    }
}

#[test]
fn pictures_of_bytes_are_those_of_their_files() {
    for entry in fs::read_dir(fixtures().join("images")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let (name, bytes) = (path.display().to_string(), fs::read(&path).expect("a file"));
        let want = Image::open(&path).expect(&name);
        let given = Image::open(Location::of_bytes(&name, bytes.clone()));
        assert_eq!(given.expect("in memory"), want, "{name}");
        let far = |broken| Location::of_bytes(&name, Ranges { bytes: bytes.clone(), broken });
        assert_eq!(Image::open(far(usize::MAX)).expect("by ranges"), want, "{name}");
        let text = |location: Location| TextChunk::read(location).map_err(|error| error.to_string());
        assert_eq!(text(far(usize::MAX)), text(Location::from(&path)), "{name}");

        for broken in [0, bytes.len() / 2] {
            let error = Image::open(far(broken)).expect_err(&name);
            assert!(matches!(error, ImageError(Error::Io { .. })), "{error:?}");
            assert_eq!(error.to_string(), format!("{name}: the line is dead"));
        }
    }
}

fn any_image() -> impl Strategy<Value = Image> {
    (1_usize..24, 1_usize..24).prop_flat_map(|(width, height)| {
        // Half of the time only black and white, where the filter overshoots most.
        let byte = prop_oneof![any::<u8>(), any::<bool>().prop_map(|white| if white { 255 } else { 0 })];
        prop::collection::vec(byte, 3 * width * height)
            .prop_map(move |rgb8| Image::from_rgb8(width, height, rgb8).expect("an image"))
    })
}

proptest! {
    #[test]
    fn resizing_to_the_same_size_changes_nothing(image in any_image()) {
        prop_assert_eq!(&image.resize(image.width(), image.height()).unwrap(), &image);
    }

    #[test]
    fn one_colour_stays_one_colour(
        from in (1_usize..80, 1_usize..80),
        to in (1_usize..80, 1_usize..80),
        colour: [u8; 3],
    ) {
        let image = Image::from_rgb8(from.0, from.1, colour.repeat(from.0 * from.1)).unwrap();
        let resized = image.resize(to.0, to.1).unwrap();
        prop_assert_eq!(resized.rgb8(), colour.repeat(to.0 * to.1));
    }

    #[test]
    fn channels_do_not_mix(image in any_image(), to in (1_usize..40, 1_usize..40)) {
        let reversed = |image: &Image| {
            let rgb8 = image.rgb8().chunks(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
            Image::from_rgb8(image.width(), image.height(), rgb8).unwrap()
        };
        let resized = image.resize(to.0, to.1).unwrap();
        prop_assert_eq!(reversed(&image).resize(to.0, to.1).unwrap(), reversed(&resized));
    }

    #[test]
    fn tensors_come_back_as_the_same_image(image in any_image()) {
        prop_assert_eq!(Image::from_tensor(&image.to_tensor(PixelRange::Signed)).unwrap(), [image]);
    }

    #[test]
    fn files_come_back_as_the_same_image(image in any_image()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        image.save(&path).unwrap();
        prop_assert_eq!(Image::open(&path).unwrap(), image);
    }

    #[test]
    fn a_damaged_file_is_an_image_or_an_error(
        file in prop::sample::select(vec!["rgb.png", "palette.png", "turned.jpg"]),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = fs::read(fixtures().join("images").join(file)).unwrap();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        fs::write(&path, bytes).unwrap();
        if let Err(error) = Image::open(&path) {
            prop_assert!(error.to_string().contains(path.to_str().unwrap()), "{}", error);
        }
    }
}

#[test]
fn impossible_sizes_are_errors() {
    let image = Image::from_rgb8(1, 1, vec![0; 3]).expect("an image");
    for (width, height) in [(0, 8), (8, 0), (Image::MAX_SIDE + 1, 8), (8, usize::MAX)] {
        assert!(
            matches!(image.resize(width, height), Err(ImageError(Error::Argument { .. }))),
            "{width}x{height}"
        );
        assert!(matches!(Image::from_rgb8(width, height, vec![]), Err(ImageError(Error::Argument { .. }))));
    }
    let error = Image::from_rgb8(2, 3, vec![0; 17]).expect_err("a byte short");
    assert_eq!(error.to_string(), "rgb8: expected 3·2·3 = 18 bytes, found 17");
}

#[test]
fn tensors_that_are_no_image_are_errors() {
    let error = |shape: &[usize]| {
        let n = shape.iter().product();
        Image::from_tensor(&HostTensor::from_f32(shape, vec![0.0; n])).expect_err("no image").to_string()
    };
    assert_eq!(error(&[1, 4, 8, 8]), "image tensor: expected a shape [B, 3, H, W], found [1, 4, 8, 8]");
    assert!(error(&[3, 8, 8]).contains("[B, 3, H, W]"));
    assert!(error(&[1, 3, 0, 8]).contains("8x0"));

    let mut short = HostTensor::from_f32([1, 3, 2, 2], vec![0.0; 12]);
    short.shape = vec![2, 3, 2, 2];
    assert!(Image::from_tensor(&short).is_err());

    let none = Image::from_tensor(&HostTensor::from_f32([0, 3, 2, 2], vec![])).expect("an empty batch");
    assert_eq!(none, []);
}

#[test]
fn pixels_that_are_not_finite_name_the_overflow() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = vec![0.0; 12];
        data[5] = bad;
        let error = Image::from_tensor(&HostTensor::from_f32([1, 3, 2, 2], data)).expect_err("an overflow");
        let text = error.to_string();
        assert!(text.contains("1 of 12") && text.contains("decode in f32"), "{text}");
    }
}

#[test]
fn files_that_are_no_image_are_errors_that_name_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let error = Image::open(&path).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
        let given = Image::open(Location::of_bytes(name, bytes.to_vec())).expect_err(name);
        assert!(error.to_string().ends_with(&given.to_string()), "{given} of bytes, {error} on disk");
        error.0
    };
    assert!(matches!(error("text.png", b"a photo of a cat, studio light"), Error::Format { .. }));
    assert!(matches!(error("empty.png", b""), Error::Format { .. }));
    assert!(matches!(error("picture.qoi", b"qoif\0\0\0\x01\0\0\0\x01\x03\0"), Error::Unsupported { .. }));

    let png = fs::read(fixtures().join("images/rgb.png")).expect("the fixture");
    for length in [8, 20, png.len() / 2, png.len() - 14] {
        assert!(matches!(error("cut.png", &png[..length]), Error::Format { .. }), "cut to {length}");
    }
    // A valid header of 100,000 x 1 pixels (IHDR carries its own checksum, kept right here).
    let mut wide = [&png[..16], &100_000_u32.to_be_bytes(), &1_u32.to_be_bytes(), &png[24..]].concat();
    let crc = crc32(&wide[12..29]);
    wide[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(error("wide.png", &wide).to_string().contains("found 100000x1"));

    assert!(matches!(Image::open(folder.path().join("none.png")), Err(ImageError(Error::Io { .. }))));
    assert!(matches!(Image::open(folder.path()), Err(ImageError(Error::Io { .. }))));
}

/// The checksum of PNG chunks (PNG specification, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}

#[test]
fn saving_leaves_a_whole_file_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = || fs::read_dir(folder.path()).expect("the folder").count();
    let image = Image::from_rgb8(2, 1, vec![1, 2, 3, 4, 5, 6]).expect("an image");

    let missing = folder.path().join("missing");
    let saved = image.save(missing.join("cat.png"));
    let Err(ImageError(Error::Io { origin, .. })) = saved else { panic!("saved nowhere") };
    assert_eq!(origin, missing.display().to_string());
    assert!(matches!(image.save(folder.path().join("cat.jpg")), Err(ImageError(Error::Unsupported { .. }))));
    assert_eq!(files(), 0);

    fs::create_dir(folder.path().join("taken.png")).expect("a folder");
    assert!(matches!(image.save(folder.path().join("taken.png")), Err(ImageError(Error::Io { .. }))));
    assert_eq!(files(), 1);

    for name in ["cat.png", "CAT2.PNG", "no_extension", "cat.png"] {
        image.save(folder.path().join(name)).expect(name);
        assert_eq!(Image::open(folder.path().join(name)).expect(name), image);
    }
    assert_eq!(files(), 4);
}

fn chunk(keyword: &str, text: &str) -> TextChunk {
    TextChunk { keyword: keyword.into(), text: text.into() }
}

/// The types of a PNG file's chunks, in order.
fn chunk_types(png: &[u8]) -> Vec<String> {
    let mut rest = &png[8..];
    let mut types = Vec::new();
    while let [a, b, c, d, tail @ ..] = rest {
        types.push(String::from_utf8_lossy(&tail[..4]).into_owned());
        rest = &tail[4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize + 4..];
    }
    types
}

#[test]
fn text_travels_beside_the_pixels() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.png");
    let image = Image::from_rgb8(3, 2, (0..18).collect()).expect("an image");
    let text = [
        chunk("parameters", "a café\nNegative prompt: blur\nSteps: 1"),
        chunk("hypersd", "{\"prompt\": \"猫 😀\"}"),
        chunk("empty", ""),
    ];
    image.save_with(&path, &text).expect("written");

    let types = chunk_types(&fs::read(&path).expect("bytes"));
    assert_eq!(types, ["IHDR", "tEXt", "tEXt", "iTXt", "IDAT", "IEND"], "Latin-1 where that is enough");
    let mut read = TextChunk::read(&path).expect("text");
    read.sort_by_key(|chunk| text.iter().position(|other| other.keyword == chunk.keyword));
    assert_eq!(read, text);
    assert_eq!(Image::open(&path).expect("an image"), image);

    image.save(&path).expect("written");
    assert_eq!(TextChunk::read(&path).expect("text"), []);
}

#[test]
fn text_that_png_cannot_hold_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.png");
    let image = Image::from_rgb8(1, 1, vec![0; 3]).expect("an image");
    for (keyword, text) in [("", ""), (" padded", ""), ("ключ", ""), (&*"k".repeat(80), ""), ("key", "a\0b")]
    {
        let error = image.save_with(&path, &[chunk(keyword, text)]).expect_err(keyword);
        assert!(matches!(error, ImageError(Error::Argument { .. })), "{keyword:?}: {error}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn text_of_damaged_files_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.png");
    let image = Image::from_rgb8(2, 2, vec![7; 12]).expect("an image");
    image.save_with(&path, &[chunk("parameters", "text"), chunk("hypersd", "猫")]).expect("written");
    let whole = fs::read(&path).expect("bytes");
    let pixels = whole.windows(4).position(|type_| type_ == b"IDAT").expect("pixels");
    for end in 0..pixels {
        fs::write(&path, &whole[..end]).expect("written");
        let error = TextChunk::read(&path).expect_err("cut");
        assert!(matches!(error, ImageError(Error::Format { .. })), "cut at {end}: {error}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        fs::write(&path, &damaged).expect("written");
        let _ = TextChunk::read(&path); // an error or other text, but no panic
    }
    let missing = TextChunk::read(folder.path().join("no.png")).expect_err("no file");
    assert!(matches!(missing, ImageError(Error::Io { .. })), "{missing}");
}

#[test]
fn a_jpeg_that_ends_early_is_refused_wherever_it_ends() {
    let jpeg = fs::read(fixtures().join("images/turned.jpg")).expect("the fixture");
    let image = Image::from_bytes(jpeg.clone()).expect("the whole");
    for length in 2..jpeg.len() {
        let error = Image::from_bytes(&jpeg[..length]).expect_err("a part");
        assert!(matches!(error, ImageError(Error::Format { .. })), "{length}: {error}");
    }
    let more = [jpeg.as_slice(), b"and a note"].concat();
    assert_eq!(Image::from_bytes(more).expect("what follows is nobody's"), image);
}

#[test]
fn pictures_of_every_format_are_pillows_to_the_bit() {
    let pictures = fixture(fixtures().join("pictures.safetensors"));
    assert_eq!(pictures.len(), fs::read_dir(fixtures().join("pictures")).expect("the folder").count());
    for (name, want) in &pictures {
        let (got, want) = (Image::open(fixtures().join("pictures").join(name)).expect(name), image(want));
        assert_eq!((got.width(), got.height()), (want.width(), want.height()), "{name}");
        assert!(got == want, "{name} has other pixels");
    }
}

#[test]
fn pictures_of_every_format_that_are_cut_or_damaged_are_errors_or_pictures() {
    for entry in fs::read_dir(fixtures().join("pictures")).expect("the folder") {
        let path = entry.expect("a file").path();
        let whole = fs::read(&path).expect("bytes");
        for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            let cut = Image::from_bytes(&whole[..at]);
            // Of a moving picture the first frame is enough; other formats end with what is no pixel.
            let enough = path.ends_with("moving.gif") || at + 40 > whole.len();
            assert!(cut.is_err() || enough, "{} cut at {at}", path.display());
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = Image::from_bytes(damaged); // whichever; but no panic
        }
    }
}

#[test]
fn pictures_of_too_many_pixels_are_refused_by_their_headers() {
    let mut png = fs::read(fixtures().join("images/rgb.png")).expect("the fixture");
    png[16..20].copy_from_slice(&16_384_u32.to_be_bytes());
    png[20..24].copy_from_slice(&16_000_u32.to_be_bytes());
    let crc = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    let error = Image::from_bytes(png).expect_err("262 million pixels").to_string();
    assert!(error.contains("at most 178956970 pixels") && error.contains("16384x16000"), "{error}");
    assert!(Image::from_rgb8(1, 1, vec![0; 3]).expect("a pixel").resize(16_384, 16_384).is_err());
}

/// The names of the tensors of one group of `image.py`.
fn group(all: &BTreeMap<String, Array>, group: &str) -> Vec<String> {
    let names = all.keys().filter_map(|name| name.strip_prefix(&format!("{group}/"))?.split_once('/'));
    let mut names: Vec<String> = names.map(|(case, _)| case.to_owned()).collect();
    names.dedup();
    assert!(!names.is_empty(), "no {group} in the fixture");
    names
}

#[test]
fn blurs_fills_and_overlays_are_pillows() {
    let all = fixture(fixtures().join("compose.safetensors"));
    let get = |name: String| image(&all[&name]);
    for case in group(&all, "blur") {
        let radius = all[&format!("blur/{case}/radius")].data[0];
        let blurred = get(format!("blur/{case}/from")).blur(radius).expect("a radius");
        assert_eq!(blurred.rgb8(), get(format!("blur/{case}/to")).rgb8(), "blur {case} by {radius}");
    }
    for case in group(&all, "fill") {
        let to = get(format!("fill/{case}/to"));
        let filled =
            get(format!("fill/{case}/from")).resize_and_fill(to.width(), to.height()).expect("a size");
        assert_eq!(filled.rgb8(), to.rgb8(), "fill {case}");
    }
    for case in group(&all, "crop") {
        let to = get(format!("crop/{case}/to"));
        let cut = get(format!("crop/{case}/from")).resize_and_crop(to.width(), to.height()).expect("a size");
        assert_eq!(cut.rgb8(), to.rgb8(), "crop {case}");
    }
    for case in group(&all, "region") {
        let numbers = |name: &str| {
            all[&format!("region/{case}/{name}")].data.iter().map(|&x| x as usize).collect::<Vec<_>>()
        };
        let [width, height, padding] = numbers("size").try_into().expect("three numbers");
        let mask = get(format!("region/{case}/mask"));
        let found = mask.masked_region(width, height, padding).expect("a size").expect("something white");
        let ends = [found.left, found.top, found.left + found.width, found.top + found.height];
        assert_eq!(numbers("region"), ends, "region {case}");
        mask.crop(found).expect("inside");
    }
    let [own, painted, mask, to] =
        ["own", "painted", "mask", "to"].map(|name| get(format!("overlay/0/{name}")));
    assert_eq!(own.with_painted(&painted, &mask).expect("one size").rgb8(), to.rgb8());
    assert_eq!(mask.luma(), all["luma"].data.iter().map(|&x| x as u8).collect::<Vec<_>>());
}

#[test]
fn parts_that_are_not_inside_are_errors() {
    let image = Image::from_rgb8(4, 3, (0..36).collect()).expect("an image");
    let region = |left, top, width, height| hypersd_core::Region { left, top, width, height };
    let part = image.crop(region(1, 2, 2, 1)).expect("inside");
    assert_eq!(part.rgb8(), [27, 28, 29, 30, 31, 32]);
    for outside in [
        region(0, 0, 5, 1),
        region(3, 0, 2, 1),
        region(0, 3, 1, 1),
        region(usize::MAX, 0, 2, 1),
        region(0, 0, 0, 1),
    ] {
        assert!(matches!(image.crop(outside), Err(ImageError(Error::Argument { .. }))), "{outside:?}");
    }
    for radius in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(image.blur(radius), Err(ImageError(Error::Argument { .. }))), "{radius}");
    }
    assert!(image.with_painted(&image, &part).is_err());
}
