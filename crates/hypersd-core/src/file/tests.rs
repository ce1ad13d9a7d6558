use std::{fs, path::Path};

use half::{bf16, f16};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::SafetensorsFile;
use crate::{Dtype, Error, HostData, TensorSource};

/// A file as the format describes it: length of the header, header, data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u64;
    [&length.to_le_bytes(), header.as_bytes(), data].concat()
}

fn open(bytes: &[u8]) -> Result<(TempDir, SafetensorsFile), Error> {
    open_as("weights.safetensors", bytes)
}

fn open_as(name: &str, bytes: &[u8]) -> Result<(TempDir, SafetensorsFile), Error> {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    SafetensorsFile::open(&path).map(|file| (folder, file))
}

/// Three types, 1 and -2 in each, with the bit patterns written out; the header is padded by `padding` blanks.
fn three_types(padding: usize) -> Vec<u8> {
    let header = r#"{"__metadata__":{"from":"a test"},"single":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"half":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},"brain":{"dtype":"BF16","shape":[2,1],"data_offsets":[12,16]},"ids":{"dtype":"I64","shape":[1],"data_offsets":[16,24]}}"#;
    let aligned = header.len().next_multiple_of(8);
    let header = format!("{header:<width$}", width = aligned + padding);
    let data = [
        [0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0],
        [0x00, 0x3c, 0x00, 0xc0, 0x80, 0x3f, 0x00, 0xc0],
        7_i64.to_le_bytes(),
    ];
    file(&header, data.as_flattened())
}

#[test]
fn elements_are_read_in_their_types() {
    let (_folder, file) = open(&three_types(0)).unwrap();
    for (name, dtype, shape) in [
        ("single", Dtype::F32, vec![2]),
        ("half", Dtype::F16, vec![1, 2]),
        ("brain", Dtype::BF16, vec![2, 1]),
    ] {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.info(), file.info(name).unwrap());
        assert_eq!((tensor.dtype(), &tensor.shape), (dtype, &shape), "{name}");
        assert_eq!(*tensor.to_f32(), [1.0, -2.0], "{name}");
    }
    let mut names = file.names();
    names.sort();
    assert_eq!(names, ["brain", "half", "ids", "single"]);
    assert_eq!(file.metadata().get("from").unwrap(), "a test");
}

#[test]
fn aligned_elements_are_borrowed_and_others_copied() {
    let borrowed = |tensor: &HostData<'_>| match tensor {
        HostData::F32(x) => matches!(x, std::borrow::Cow::Borrowed(_)),
        HostData::F16(x) => matches!(x, std::borrow::Cow::Borrowed(_)),
        HostData::BF16(x) => matches!(x, std::borrow::Cow::Borrowed(_)),
    };
    for (padding, expected) in [(0, [true; 3]), (1, [false; 3]), (2, [false, true, true])] {
        let (_folder, file) = open(&three_types(padding)).unwrap();
        for (name, expected) in ["single", "half", "brain"].iter().zip(expected) {
            let tensor = file.tensor(name).unwrap();
            assert_eq!(borrowed(&tensor.data), expected, "{name} after {padding} blanks");
            assert_eq!(*tensor.to_f32(), [1.0, -2.0], "{name} after {padding} blanks");
        }
    }
}

#[test]
fn other_types_are_listed_and_refused_only_when_read() {
    let (_folder, file) = open(&three_types(0)).unwrap();
    assert_eq!(file.info("ids").unwrap().dtype, Dtype::Integer("I64"));
    assert_eq!(*file.tensor("ids").unwrap().to_f32(), [7.0], "a number that stands in one is read");
    let flags = r#"{"flags":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#;
    let (_folder, file) = open(&self::file(flags, &[0, 1])).unwrap();
    assert_eq!(file.info("flags").unwrap().dtype, Dtype::Other("BOOL"));
    let error = file.tensor("flags").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    let message = error.to_string();
    assert!(
        message.contains("\"flags\"") && message.contains("BOOL") && message.contains("F32"),
        "{message}"
    );
}

#[test]
fn an_absent_name_is_an_error_with_the_nearest() {
    let (_folder, file) = open(&three_types(0)).unwrap();
    assert!(file.info("singel").is_none());
    let message = file.tensor("singel").unwrap_err().to_string();
    assert!(message.contains("no tensor \"singel\"") && message.contains("nearest: single"), "{message}");
}

#[test]
fn a_released_tensor_can_be_read_again() {
    let values: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
    let header = r#"{"x":{"dtype":"F32","shape":[100000],"data_offsets":[0,400000]},"none":{"dtype":"F32","shape":[0],"data_offsets":[400000,400000]}}"#;
    let (_folder, file) = open(&file(header, bytemuck::cast_slice(&values))).unwrap();
    let held = file.tensor("x").unwrap();
    for name in ["x", "none", "no such"] {
        file.release(name);
    }
    assert_eq!(*held.to_f32(), values);
    assert_eq!(*file.tensor("x").unwrap().to_f32(), values);
    assert!(file.tensor("none").unwrap().data.is_empty());
}

#[test]
fn scalars_and_values_that_are_not_finite_are_read_as_they_are() {
    let header = r#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"h":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}"#;
    let data =
        [f32::NAN.to_le_bytes().as_slice(), &f16::INFINITY.to_le_bytes(), &f16::NAN.to_le_bytes()].concat();
    let (_folder, file) = open(&file(header, &data)).unwrap();
    let scalar = file.tensor("s").unwrap();
    assert!(scalar.shape.is_empty() && scalar.to_f32()[0].is_nan());
    let half = file.tensor("h").unwrap();
    assert!(half.to_f32()[0] == f32::INFINITY && half.to_f32()[1].is_nan());
}

#[test]
fn lying_headers_are_errors() {
    let x = r#""x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("empty", vec![], "an empty file"),
        ("shorter than a length", vec![1, 2, 3], "header too small"),
        ("length past the end", file("{}", &[])[..9].to_vec(), "header length of 2 in a file of 9 bytes"),
        ("astronomic length", [&[0xfe; 8], b"{}".as_slice()].concat(), "truncated, or of another format"),
        ("greatest length", [&[0xff; 8], b"{}".as_slice()].concat(), "truncated, or of another format"),
        (
            "large length",
            [&99_999_999_u64.to_le_bytes(), b"{}".as_slice()].concat(),
            "header length of 99999999",
        ),
        ("not UTF-8", [&2_u64.to_le_bytes(), [0xc3, 0x28].as_slice()].concat(), "UTF-8"),
        ("not JSON", file("{x}", &[]), "JSON"),
        ("nested without end", file(&"[".repeat(10_000), &[]), "JSON"),
        ("no object", file("[]", &[]), "JSON"),
        ("truncated data", file(&format!("{{{x}}}"), &[0; 7]), "truncated or damaged"),
        ("trailing data", file(&format!("{{{x}}}"), &[0; 9]), "truncated or damaged"),
        (
            "overlap",
            file(&format!(r#"{{{x},"y":{{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}}}"#), &[0; 12]),
            "\"y\" does not begin where",
        ),
        (
            "gap",
            file(&format!(r#"{{{x},"y":{{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}}}"#), &[0; 16]),
            "\"y\" does not begin where",
        ),
        ("backwards", file(r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, &[0; 8]), "\"x\""),
        (
            "shape too large",
            file(r#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, &[0; 8]),
            "shape",
        ),
        (
            "shape overflows",
            file(r#"{"x":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#, &[0; 8]),
            "overflow",
        ),
        (
            "negative extent",
            file(r#"{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, &[0; 8]),
            "JSON",
        ),
        ("unknown type", file(r#"{"x":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]), "F33"),
    ];
    for (case, bytes, found) in cases {
        let error = open(bytes).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{case}: {error:?}");
        let message = error.to_string();
        assert!(message.contains("weights.safetensors: expected a safetensors file"), "{case}: {message}");
        assert!(message.contains(found), "{case}: {message}");
    }
}

#[test]
fn sizes_that_add_up_to_more_than_there_is_are_an_error() {
    let most = (1_u64 << 61) - 1; // bytes, whose bits can still be counted
    let entries = (0..8).map(|i| {
        let (from, to) = (i * most, (i + 1) * most);
        format!(r#""{i}":{{"dtype":"U8","shape":[{most}],"data_offsets":[{from},{to}]}}"#)
    });
    let header = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
    let message = open(&file(&header, &[])).unwrap_err().to_string();
    assert!(message.contains("truncated or damaged"), "{message}");
}

#[test]
fn other_formats_are_called_by_their_names() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("a.safetensors", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG image"),
        ("a.safetensors", b"\xff\xd8\xff\xe0\0\x10JFIF", "JPEG image"),
        ("a.safetensors", b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl", "WeightFile"),
        ("a.safetensors", b"\x80\x02}q\0(X\x05\0\0\0modelq\x01", "WeightFile"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.safetensors", b"<!DOCTYPE html><html>Sign in</html>", "HTML"),
        ("a.safetensors", b"GGUF\x03\0\0\0\0\0\0\0", "GGUF"),
        ("model.ckpt", b"\0\0\0\0 a tar or something older", "PyTorch 1.6 or later"),
        ("MODEL.PTH", b"PK\x03\x04\0\0\x08\x08\0\0", "WeightFile"),
    ];
    for (name, bytes, found) in cases {
        let error = open_as(name, bytes).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(found) && error.to_string().contains(name), "{name}: {error}");
    }
    let text = open(b"Entry not found").unwrap_err().to_string();
    assert!(text.contains("found a text file"), "{text}");
}

#[test]
fn a_path_without_a_file_is_an_error() {
    let folder = tempdir().unwrap();
    let absent = SafetensorsFile::open(folder.path().join("absent.safetensors")).unwrap_err();
    assert!(matches!(absent, Error::Io { .. }) && absent.to_string().contains("absent.safetensors"));
    let directory = SafetensorsFile::open(folder.path()).unwrap_err().to_string();
    assert!(directory.contains("found a directory"), "{directory}");
    let device = SafetensorsFile::open(Path::new("/dev/null"));
    assert!(device.is_err());
}

/// Reads everything a file offers, as a loader would.
fn read_all(bytes: &[u8]) {
    let Ok((_folder, file)) = open(bytes) else { return };
    for name in file.names() {
        let info = file.info(&name).unwrap();
        match file.tensor(&name) {
            Ok(tensor) => {
                assert_eq!(tensor.shape, info.shape);
                assert_eq!(tensor.data.len(), info.shape.iter().product::<usize>());
                assert_eq!(tensor.to_f32().len(), tensor.data.len());
            }
            Err(error) => assert!(matches!(error, Error::Unsupported { .. })),
        }
        file.release(&name);
    }
}

/// A header entry whose numbers need not agree.
fn entry() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0_usize..20, Just(usize::MAX), Just(1 << 62), Just(1 << 32)];
    let dtype = prop_oneof![Just("F32"), Just("F16"), Just("BF16"), Just("I64"), Just("F4"), Just("BOOL")];
    (dtype, prop::collection::vec(number(), 0..4), number(), number()).prop_map(|(dtype, shape, from, to)| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{from},{to}]}}"#)
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(header in "\\PC{0,80}", data in prop::collection::vec(any::<u8>(), 0..40)) {
        read_all(&file(&header, &data));
    }

    #[test]
    fn lying_entries_never_panic(
        entries in prop::collection::vec(entry(), 0..4),
        data in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let entries: Vec<String> = entries.iter().enumerate().map(|(i, e)| format!("\"{}\":{e}", i % 3)).collect();
        read_all(&file(&format!("{{{}}}", entries.join(",")), &data));
    }

    #[test]
    fn a_damaged_file_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        kept in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = three_types(0);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(kept.index(bytes.len()));
        }
        read_all(&bytes);
    }

    #[test]
    fn what_was_written_is_read(values in prop::collection::vec(any::<f32>(), 0..50), padding in 0_usize..9) {
        let half: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
        let brain: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
        let n = values.len();
        let header = format!(
            r#"{{"f":{{"dtype":"F32","shape":[{n}],"data_offsets":[0,{}]}},"h":{{"dtype":"F16","shape":[{n}],"data_offsets":[{},{}]}},"b":{{"dtype":"BF16","shape":[{n}],"data_offsets":[{},{}]}}}}"#,
            4 * n, 4 * n, 6 * n, 6 * n, 8 * n,
        );
        let data = [bytemuck::cast_slice(&values), bytemuck::cast_slice(&half), bytemuck::cast_slice(&brain)].concat();
        let (_folder, file) = open(&file(&(header + &" ".repeat(padding)), &data)).unwrap();
        let bits = |name: &str| -> Vec<u32> { match file.tensor(name).unwrap().data {
            HostData::F32(x) => x.iter().map(|x| x.to_bits()).collect(),
            HostData::F16(x) => x.iter().map(|x| x.to_bits().into()).collect(),
            HostData::BF16(x) => x.iter().map(|x| x.to_bits().into()).collect(),
        }};
        prop_assert_eq!(bits("f"), values.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        prop_assert_eq!(bits("h"), half.iter().map(|x| x.to_bits().into()).collect::<Vec<u32>>());
        prop_assert_eq!(bits("b"), brain.iter().map(|x| x.to_bits().into()).collect::<Vec<u32>>());
    }
}
