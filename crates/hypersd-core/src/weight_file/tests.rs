//! Files as torch, safetensors and gguf write them (`reference/files.py`), and what they should be read as.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::WeightFile;
use crate::{ByteSource, Dtype, Error, Location, SafetensorsFile, TensorSource};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files")
}

fn expected() -> SafetensorsFile {
    SafetensorsFile::open(fixtures().join("expected.safetensors")).expect("a fixture")
}

/// The fixtures that are read.
fn files() -> BTreeSet<String> {
    let file = |name: &String| name.split_once(": ").expect("file and tensor").0.to_string();
    expected().names().iter().map(file).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    // One quiet NaN is as good as another.
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Every tensor of a file has the shape and the bits that it should have, and no other is there.
fn check(file: &WeightFile, name: &str) {
    let expected = expected();
    let mut seen = 0;
    for key in expected.names() {
        let Some(tensor) = key.strip_prefix(&format!("{name}: ")) else { continue };
        let want = expected.tensor(&key).expect("a fixture");
        let info = file.info(tensor).unwrap_or_else(|| panic!("{key} is not there"));
        assert_eq!(info.shape, want.shape, "{key}");
        let mut scratch = vec![9.0; 3];
        for _ in 0..2 {
            let got = file.tensor(tensor).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!((&got.shape, bits(&got.to_f32())), (&want.shape, bits(&want.to_f32())), "{key}");
            let got = file.tensor_in(tensor, &mut scratch).expect("read once more");
            assert_eq!(bits(&got.to_f32()), bits(&want.to_f32()), "{key}");
            file.release(tensor);
        }
        seen += 1;
    }
    assert_eq!(file.names().len(), seen, "{name}: {:?}", file.names());
}

#[test]
fn every_file_is_read_as_its_writer_reads_it() {
    assert_eq!(files().len(), 11, "{:?}", files());
    for name in files() {
        check(&WeightFile::open(fixtures().join(&name)).unwrap_or_else(|error| panic!("{error}")), &name);
    }
}

/// Bytes that are read by ranges only.
struct Ranges(Vec<u8>);

impl ByteSource for Ranges {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into)
    }
}

#[test]
fn every_file_is_read_by_ranges_and_from_memory_and_under_any_name() {
    for name in files() {
        let bytes = fs::read(fixtures().join(&name)).expect("a fixture");
        let ranges = Location::of_bytes("a", Ranges(bytes.clone()));
        check(&WeightFile::open(ranges).expect("ranges"), &name);
        let memory = Location::of_bytes("b.safetensors", bytes);
        check(&WeightFile::open(memory).expect("memory"), &name);
    }
}

#[test]
fn what_a_file_keeps_is_told_by_its_types() {
    let of = |file: &str, name: &str| {
        WeightFile::open(fixtures().join(file)).expect("a fixture").info(name).expect("a tensor").dtype
    };
    assert_eq!(of("types.safetensors", "f8_e4m3"), Dtype::F8E4M3);
    assert_eq!(of("types.safetensors", "i64"), Dtype::Integer("I64"));
    assert_eq!(of("blocks.gguf", "q4_k"), Dtype::Blocks("Q4_K"));
    assert_eq!(of("plain.pth", "bf16"), Dtype::BF16);
    assert_eq!(of("scaled.safetensors", "one.weight"), Dtype::F32);
    assert_eq!(of("blocks.gguf", "q4_k").to_string(), "Q4_K");
    assert!(of("blocks.gguf", "q4_k").is_weight() && !of("plain.pth", "i64").is_weight());
}

#[test]
fn what_asks_for_more_is_refused_by_the_name_of_what_it_asks_for() {
    let error = WeightFile::open(fixtures().join("asks.pt")).expect_err("it wants to run");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("asks.pt") && message.contains("`__builtin__.eval`"), "{message}");
    let bare = WeightFile::open(fixtures().join("bare.pkl")).expect_err("no tensors").to_string();
    assert!(bare.contains("a pickle that PyTorch did not write"), "{bare}");
}

/// The first byte of a header's length may be that of a pickle, a zip archive or anything else.
#[test]
fn a_safetensors_file_that_is_cut_is_called_damaged_whatever_its_length_begins_with() {
    for length in [0x0280_u64, 0x0580, 0x0403_4b50 & 0xffff, 0x3c, 0x8950] {
        let entry = r#""x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
        let header = format!("{{{entry:<width$}}}", width = length as usize - 2);
        let whole = [&length.to_le_bytes(), header.as_bytes(), &[0; 8]].concat();
        for name in ["x.safetensors", "x.ckpt"] {
            WeightFile::open(Location::of_bytes(name, whole.clone())).expect("it is whole");
            for cut in [8, 9, whole.len() - 9, whole.len() - 1] {
                let cut = Location::of_bytes(name, whole[..cut].to_vec());
                let error = WeightFile::open(cut).expect_err("it is cut");
                assert!(matches!(error, Error::Format { .. }), "{length:#x}: {error}");
                assert!(error.to_string().contains("truncated"), "{length:#x}: {error}");
            }
        }
    }
}

#[test]
fn scales_that_belong_to_nothing_are_errors() {
    let file = |entries: &str, data: usize| {
        let header = format!("{{{entries}}}");
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
        WeightFile::open(Location::of_bytes("x.safetensors", bytes)).map(|file| file.names())
    };
    let scale = r#""a.scale_weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let weight = |dtype: &str, end: usize| {
        format!(r#"{scale},"a.weight":{{"dtype":"{dtype}","shape":[2,1],"data_offsets":[4,{end}]}}"#)
    };
    assert_eq!(file(&weight("F8_E5M2", 6), 6).expect("a scale of a weight"), ["a.weight"]);
    for (entries, data, found) in [
        (scale.to_string(), 4, "no \"a.weight\""),
        (weight("F16", 8), 8, "in F16"),
        (
            weight("F8_E4M3", 6)
                .replace("\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[0],\"data_offsets\":[0,0]")
                .replace("[4,6]", "[0,2]"),
            2,
            "one for each of 2 rows",
        ),
    ] {
        let error = file(&entries, data).expect_err("a wrong scale").to_string();
        assert!(error.contains(found) && error.contains("x.safetensors"), "{error}");
    }
}
