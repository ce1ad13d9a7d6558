//! GGUF files that are wrong.

use std::{fs, path::Path};

use proptest::prelude::*;

use crate::{Error, Location, TensorSource, WeightFile};

fn open(bytes: &[u8]) -> Result<WeightFile, Error> {
    WeightFile::open(Location::of_bytes("x.gguf", bytes.to_vec()))
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A file of these settings and tensors, and so many bytes of data at the next multiple of 32.
fn file(settings: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let counts = [tensors.len() as u64, settings.len() as u64].map(u64::to_le_bytes).concat();
    let mut file =
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &counts, &settings.concat(), &tensors.concat()].concat();
    file.resize(file.len().next_multiple_of(32) + data, 0);
    file
}

fn setting(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(key), kind.to_le_bytes().as_slice(), value].concat()
}

fn tensor(name: &str, extents: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let extents_bytes = extents.iter().flat_map(|extent| extent.to_le_bytes()).collect::<Vec<_>>();
    let head = [&string(name), (extents.len() as u32).to_le_bytes().as_slice(), &extents_bytes].concat();
    [head.as_slice(), &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// An array setting of 32-bit integers.
fn integers(key: &str, values: &[u32]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let count = (values.len() as u64 / 4).to_le_bytes();
    setting(key, 9, &[5_u32.to_le_bytes().as_slice(), &count, &values].concat())
}

#[test]
fn extents_are_turned_around_and_shapes_restored() {
    let original = integers("comfy.gguf.orig_shape.b", &[2, 2, 8]);
    let bytes = file(&[original], &[tensor("a", &[4, 3], 0, 0), tensor("b", &[32], 8, 64)], 98);
    let file = open(&bytes).expect("a file");
    assert_eq!(file.info("a").expect("a").shape, [3, 4]);
    assert_eq!(file.info("b").expect("b").shape, [2, 2, 8]);
    assert_eq!(file.tensor("b").expect("b").to_f32().len(), 32);
}

#[test]
fn types_that_are_not_read_are_listed_and_refused_when_read() {
    let file = open(&file(&[], &[tensor("a", &[256], 23, 0)], 136)).expect("a file");
    let error = file.tensor("a").expect_err("not read");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("IQ4_XS"), "{error}");
}

#[test]
fn lying_headers_are_errors() {
    let f32s = |extents: &[u64], offset| file(&[], &[tensor("a", extents, 0, offset)], 8);
    let huge = 1_u64 << 40;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing behind", f32s(&[3], 0), "truncated"),
        ("far away", f32s(&[1], 1 << 50), "truncated"),
        ("beyond counting", f32s(&[1], u64::MAX - 31), "truncated or damaged"),
        ("not aligned", f32s(&[1], 4), "multiple of 32"),
        ("too many elements", f32s(&[huge, huge], 0), "fits memory"),
        ("too many bytes", f32s(&[u64::MAX / 2], 0), "fits memory"),
        ("extents without end", f32s(&[1; 9], 0), "at most 8 extents"),
        ("no block", file(&[], &[tensor("a", &[33], 8, 0)], 99), "divides into blocks"),
        ("no type", file(&[], &[tensor("a", &[32], 4, 0)], 99), "a type of \"a\" that ggml has"),
        (
            "two of a name",
            file(&[], &[tensor("a", &[1], 0, 0), tensor("a", &[1], 0, 0)], 8),
            "two called \"a\"",
        ),
        (
            "another shape",
            file(&[integers("comfy.gguf.orig_shape.a", &[3])], &[tensor("a", &[2], 0, 0)], 8),
            "original shape",
        ),
        ("no shape", file(&[integers("comfy.gguf.orig_shape.a", &[])], &[], 0), "1 to 8 integers"),
        ("alignment 0", file(&[setting("general.alignment", 4, &[0; 4])], &[], 0), "a power of two"),
        ("alignment 3", file(&[setting("general.alignment", 4, &[3, 0, 0, 0])], &[], 0), "a power of two"),
        ("setting of no type", file(&[setting("a", 13, &[])], &[], 0), "type 13"),
        (
            "arrays in arrays",
            file(&[setting("a", 9, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])], &[], 0),
            "type 9",
        ),
        (
            "long name",
            file(&[[u64::MAX.to_le_bytes().as_slice(), b"a"].concat()], &[], 0),
            "at most 65536 bytes",
        ),
        ("long string", file(&[setting("a", 8, &[0xff; 8])], &[], 0), "truncated"),
        (
            "long array",
            file(&[setting("a", 9, &[0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])], &[], 0),
            "truncated",
        ),
        (
            "long list",
            file(&[setting("a", 9, &[8, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])], &[], 0),
            "truncated",
        ),
        ("not UTF-8", file(&[[1_u64.to_le_bytes().as_slice(), &[0xff]].concat()], &[], 0), "UTF-8"),
        ("version 4", [b"GGUF".as_slice(), &4_u32.to_le_bytes(), &[0; 16]].concat(), "version 4"),
        ("no version", b"GGUF\x03".to_vec(), "truncated"),
        ("endless tensors", [b"GGUF\x03\0\0\0".as_slice(), &[0xff; 8], &[0; 8]].concat(), "truncated"),
    ];
    for (case, bytes, found) in cases {
        let error = open(&bytes).expect_err(case);
        assert!(matches!(error, Error::Format { .. }), "{case}: {error:?}");
        let message = error.to_string();
        assert!(message.starts_with("x.gguf: expected a GGUF file with"), "{case}: {message}");
        assert!(message.contains(found), "{case}: {message}");
    }
    for (version, found) in [([1, 0, 0, 0], "version 1"), ([0, 0, 0, 3], "byte order")] {
        let error = open(&[b"GGUF".as_slice(), &version, &[0; 16]].concat()).expect_err(found);
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(found), "{error}");
    }
}

/// Reads everything a file offers, as a loader would.
fn read_all(bytes: &[u8]) {
    let Ok(file) = open(bytes) else { return };
    for name in file.names() {
        let info = file.info(&name).expect("it is listed");
        match file.tensor(&name) {
            Ok(tensor) => {
                assert_eq!(tensor.shape, info.shape);
                assert_eq!(tensor.data.len(), info.shape.iter().product::<usize>());
            }
            Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error}"),
        }
        file.release(&name);
    }
}

fn fixture() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files/blocks.gguf"))
        .expect("a fixture")
}

#[test]
fn a_file_that_is_cut_anywhere_is_an_error() {
    let whole = fixture();
    for end in (0..whole.len() - 32).step_by(7) {
        assert!(open(&whole[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&[b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_damaged_file_never_panics(
        changes in prop::collection::vec((0_usize..1500, any::<u8>()), 0..6),
        kept in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = fixture();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(kept.index(bytes.len()));
        }
        read_all(&bytes);
    }
}
