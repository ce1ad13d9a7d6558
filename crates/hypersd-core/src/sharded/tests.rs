use std::{fs, path::Path};

use proptest::prelude::*;
use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
use tempfile::{TempDir, tempdir};

use super::ShardedFile;
use crate::{Error, TensorSource};

/// A file in which each named tensor holds one number.
fn write_shard(path: &Path, tensors: &[(&str, f32)]) {
    let bytes: Vec<_> = tensors.iter().map(|(name, x)| (*name, x.to_le_bytes())).collect();
    let views = bytes.iter().map(|(name, x)| (*name, TensorView::new(Dtype::F32, vec![1], x).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// Two shards, `one` holding a and b, `two` holding c, and an index that says `weight_map`.
fn folder(weight_map: &str) -> TempDir {
    let folder = tempdir().unwrap();
    write_shard(&folder.path().join("one.safetensors"), &[("a", 1.0), ("b", 2.0)]);
    write_shard(&folder.path().join("two.safetensors"), &[("c", 3.0)]);
    let index = format!(r#"{{"metadata":{{"total_size":12}},"weight_map":{weight_map}}}"#);
    fs::write(folder.path().join("index.json"), index).unwrap();
    folder
}

const RIGHT: &str = r#"{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}"#;

#[test]
fn shards_are_one_source() {
    let folder = folder(RIGHT);
    let file = ShardedFile::open(folder.path().join("index.json")).unwrap();
    assert_eq!(file.names(), ["a", "b", "c"]);
    for (name, value) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        file.release(name);
        assert_eq!(*file.tensor(name).unwrap().to_f32(), [value]);
        assert_eq!(file.info(name).unwrap().shape, [1]);
    }
    let names = ShardedFile::shard_names(folder.path().join("index.json")).unwrap();
    assert_eq!(names, ["one.safetensors", "two.safetensors"]);
    assert!(file.info("d").is_none());
    let absent = file.tensor("d").unwrap_err().to_string();
    assert!(absent.contains("index.json") && absent.contains("no tensor \"d\""), "{absent}");
}

#[test]
fn an_index_that_differs_from_its_shards_is_an_error() {
    for (weight_map, found) in [
        // listed where it is not
        (r#"{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}"#, "tensor \"b\""),
        // listed and nowhere
        (
            r#"{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","d":"two.safetensors"}"#,
            "tensor \"d\"",
        ),
        // there and not listed
        (r#"{"a":"one.safetensors","c":"two.safetensors"}"#, "tensor \"b\""),
    ] {
        let folder = folder(weight_map);
        let error = ShardedFile::open(folder.path().join("index.json")).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[test]
fn a_tensor_in_two_shards_is_an_error() {
    let folder = folder(RIGHT);
    write_shard(&folder.path().join("two.safetensors"), &[("a", 9.0), ("c", 3.0)]);
    let message = ShardedFile::open(folder.path().join("index.json")).unwrap_err().to_string();
    assert!(message.contains("\"a\"") && message.contains("in one.safetensors"), "{message}");
    assert!(message.contains("found it in two.safetensors"), "{message}");
}

#[test]
fn shards_lie_beside_their_index() {
    let outside = folder(RIGHT);
    for name in [
        "../one.safetensors",
        "..",
        ".",
        "",
        "sub/one.safetensors",
        r"sub\\one.safetensors",
        "/etc/passwd",
        "C:one.safetensors",
    ] {
        fs::write(outside.path().join("index.json"), format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#))
            .unwrap();
        let error = ShardedFile::open(outside.path().join("index.json")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("the name of a file in the same folder"), "{name}: {message}");
    }
}

#[test]
fn an_absent_shard_and_a_damaged_one_are_errors() {
    let folder = folder(RIGHT);
    fs::remove_file(folder.path().join("two.safetensors")).unwrap();
    let error = ShardedFile::open(folder.path().join("index.json")).unwrap_err();
    assert!(matches!(&error, Error::Io { origin, .. } if origin.ends_with("two.safetensors")), "{error}");

    fs::write(folder.path().join("x.bin"), b"PK\x03\x04").unwrap();
    fs::write(folder.path().join("index.json"), r#"{"weight_map":{"a":"x.bin"}}"#).unwrap();
    let error = ShardedFile::open(folder.path().join("index.json")).unwrap_err();
    assert!(matches!(error, Error::Format { .. }) && error.to_string().contains("truncated"), "{error}");
}

#[test]
fn an_index_of_another_form_is_an_error() {
    for (index, found) in [
        ("", "expected JSON"),
        ("[1]", "expected an object, found 1"),
        ("{}", "weight_map"),
        (r#"{"weight_map":{"a":1}}"#, "field `weight_map.a`"),
        (r#"{"weight_map":{}} x"#, "trailing"),
    ] {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("index.json"), index).unwrap();
        let error = ShardedFile::open(folder.path().join("index.json")).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{index}: {error:?}");
        assert!(
            error.to_string().contains(found) && error.to_string().contains("index.json"),
            "{index}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_indices_never_panic(weight_map in "\\PC{0,60}", names in prop::collection::vec("\\PC{0,12}", 0..4)) {
        let folder = folder(&weight_map);
        let _ = ShardedFile::open(folder.path().join("index.json"));
        let map: std::collections::BTreeMap<_, _> = ["a", "b", "c", "d"].into_iter().zip(names).collect();
        let index = serde_json::json!({ "weight_map": map }).to_string();
        fs::write(folder.path().join("index.json"), index).unwrap();
        let opened = ShardedFile::open(folder.path().join("index.json"));
        prop_assert!(opened.is_err() || map.is_empty(), "no arbitrary name is that of a shard");
    }
}
