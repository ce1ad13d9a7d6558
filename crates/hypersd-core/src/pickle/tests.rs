//! Checkpoints that are wrong, and pickles that want more than tensors.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::machine;
use crate::{Error, Location, TensorSource, WeightFile, cursor::Cursor, file::Bytes};

fn open(bytes: &[u8]) -> Result<WeightFile, Error> {
    WeightFile::open(Location::of_bytes("x.pt", bytes.to_vec()))
}

/// A zip archive of stored files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut local, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let sizes = [bytes.len() as u32; 2].map(u32::to_le_bytes).concat();
        let names = (name.len() as u32).to_le_bytes(); // and no extra field
        let place = (local.len() as u32).to_le_bytes();
        let head = [&[0; 8][..], &[0; 4], &sizes, &names].concat();
        local.extend([b"PK\x03\x04\x00\x00", &head[..], name.as_bytes(), bytes].concat());
        let rest = [&[0; 10][..], &place].concat();
        directory.extend([b"PK\x01\x02\x00\x00\x00\x00", &head[..], &rest, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let ends = [directory.len() as u32, local.len() as u32].map(u32::to_le_bytes).concat();
    [&local, &directory, b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &ends, &[0; 2]].concat()
}

/// A checkpoint of one pickle and one storage of 4 floats, `0`.
fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    archive(&[("a/data.pkl", pickle), ("a/data/0", &[0; 16])])
}

/// `{"x": a tensor}` by its storage's key and count, offset, shape and strides.
fn tensor(key: &str, count: u8, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |numbers: &[u8]| {
        let items: Vec<u8> = numbers.iter().flat_map(|&number| [b'K', number]).collect();
        [b"(".as_slice(), &items, b"t"].concat()
    };
    let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let storage = [
        b"(",
        &text("storage")[..],
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        &[b'K', count],
        b"tQ",
    ]
    .concat();
    let arguments = [b"(", &storage[..], &[b'K', offset], &tuple(shape), &tuple(strides), b"\x89Nt"].concat();
    let call = [b"ctorch._utils\n_rebuild_tensor_v2\n", &arguments[..], b"R"].concat();
    [b"\x80\x02}", &text("x")[..], &call, b"s."].concat()
}

#[test]
fn a_tensor_is_inside_its_storage() {
    let read = |pickle: &[u8]| open(&checkpoint(pickle)).map(|file| file.tensor("x").expect("x").data.len());
    assert_eq!(read(&tensor("0", 4, 0, &[2, 2], &[2, 1])).expect("all of it"), 4);
    assert_eq!(read(&tensor("0", 4, 3, &[1], &[7])).expect("the last"), 1);
    assert_eq!(read(&tensor("0", 4, 200, &[0, 3], &[1, 1])).expect("nothing"), 0);
    assert_eq!(read(&tensor("0", 4, 0, &[], &[])).expect("a scalar"), 1);
    for (case, pickle) in [
        ("too far", tensor("0", 4, 1, &[2, 2], &[2, 1])),
        ("steps too wide", tensor("0", 4, 0, &[2], &[4])),
        ("repeated", tensor("0", 4, 0, &[200, 200], &[0, 0])),
        ("too many promised", tensor("0", 5, 0, &[1], &[1])),
        ("no such storage", tensor("1", 4, 0, &[1], &[1])),
        ("strides of another rank", tensor("0", 4, 0, &[1], &[1, 1])),
        ("extents without end", tensor("0", 4, 0, &[1; 9], &[1; 9])),
    ] {
        let error = open(&checkpoint(&pickle)).map(|file| file.names()).expect_err(case);
        assert!(matches!(error, Error::Format { .. }), "{case}: {error}");
        assert!(error.to_string().starts_with("x.pt: expected a PyTorch checkpoint with"), "{case}: {error}");
    }
}

#[test]
fn names_that_are_not_known_are_refused_before_they_are_used() {
    for (global, module) in [
        ("cos\nsystem\n", "`os.system`"),
        ("c__builtin__\neval\n", "`__builtin__.eval`"),
        ("cposix\nsystem\n", "`posix.system`"),
        ("ctorch\nload\n", "`torch.load`"),
        ("ctorch._utils\n_rebuild_device_tensor_from_numpy\n", "_rebuild_device_tensor_from_numpy`"),
        ("c__torch__.model\nNet\n", "`__torch__.model.Net`"),
    ] {
        let pickle = [b"\x80\x02", global.as_bytes(), b"(\x8c\x02lstR."].concat();
        let error = open(&checkpoint(&pickle)).expect_err(module);
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(module), "{error}");
    }
    let newer = [b"\x80\x04\x8c\x02os\x8c\x06system\x93.".as_slice()].concat();
    assert!(open(&checkpoint(&newer)).expect_err("os").to_string().contains("`os.system`"));
}

#[test]
fn wrong_pickles_are_errors() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "truncated"),
        ("no end", b"\x80\x02}", "truncated"),
        ("nothing made", b"\x80\x02.", "operands"),
        ("protocol", b"\x80\x09}.", "protocol 9"),
        ("operation", b"\x80\x02i.", "0x69"),
        ("instance", b"\x80\x02(o.", "0x6f"),
        ("extension", b"\x80\x02\x82\x01.", "0x82"),
        ("no mark", b"\x80\x02t.", "operands"),
        ("below a mark", b"\x80\x02}(s.", "operands"),
        ("never remembered", b"\x80\x02h\x07.", "none at 7"),
        ("entries of a number", b"\x80\x02K\x01NNs.", "entries of something else"),
        ("items of a number", b"\x80\x02K\x01Na.", "items of something else"),
        ("half a pair", b"\x80\x02}(Nu.", "a key alone"),
        ("a call of a number", b"\x80\x02K\x01)R.", "a call of something else"),
        ("a call of a type", b"\x80\x02ctorch\nFloatStorage\n)R.", "a call of"),
        (
            "a call of a mention",
            b"\x80\x02cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n)R.",
            "a call of",
        ),
        ("a reference to nothing", b"\x80\x02NQ.", "tuples"),
        ("a long string", b"\x80\x02X\xff\xff\xff\xff", "truncated"),
        ("a longer string", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "truncated"),
        ("a long number", b"\x80\x02\x8b\xff\xff\xff\x7f", "truncated"),
        ("no tensors", b"\x80\x02}.", "none"),
        ("no mapping", b"\x80\x02K\x01.", "something else"),
        ("not UTF-8", b"\x80\x02X\x01\0\0\0\xff.", "UTF-8"),
    ];
    for (case, pickle, found) in cases {
        let error = open(&checkpoint(pickle)).expect_err(case);
        assert!(matches!(error, Error::Format { .. }), "{case}: {error:?}");
        assert!(error.to_string().contains(found), "{case}: {error}");
    }
}

/// Small pickles that ask for much: of time, memory or the stack.
#[test]
fn pickles_that_explode_are_errors() {
    let nested = [b"\x80\x02".as_slice(), &b"]".repeat(3000), &b"a".repeat(2999), b"."].concat();
    // Each list holds the one before it twice.
    let doubled: Vec<u8> = (0..60_u8).flat_map(|i| [b'(', b'h', i, b'h', i, b'l', b'q', i + 1]).collect();
    let laughing = [b"\x80\x02]q\0".as_slice(), &doubled, b"."].concat();
    let itself = b"\x80\x02]q\0h\0a.".to_vec();
    let many = [b"\x80\x02(".as_slice(), &b"}".repeat(5000), b"l."].concat();
    let marks = [b"\x80\x02".as_slice(), &b"(".repeat(5000), b"."].concat();
    let remembered = [b"\x80\x04]".as_slice(), &b"\x94".repeat(5000), b"."].concat();
    // A long list, copied again and again.
    let copied = [
        b"\x80\x02(".as_slice(),
        &b"NN\x86".repeat(1000),
        b"lq\0",
        &b"ccollections\nOrderedDict\nh\0\x85R".repeat(9),
        b".",
    ]
    .concat();
    for (case, pickle) in [
        ("nested", nested),
        ("laughing", laughing),
        ("itself", itself),
        ("many", many),
        ("marks", marks),
        ("remembered", remembered),
        ("copied", copied),
    ] {
        let error = open(&checkpoint(&pickle)).expect_err(case);
        assert!(matches!(error, Error::Format { .. }), "{case}: {error:?}");
    }
}

#[test]
fn wrong_archives_are_errors() {
    let pickle = tensor("0", 4, 0, &[1], &[1]);
    let whole = checkpoint(&pickle);
    open(&whole).expect("it is whole");
    for end in 0..whole.len() {
        assert!(open(&whole[..end]).is_err(), "cut at {end}");
    }
    let without = archive(&[("a/other", b"")]);
    assert!(open(&without).expect_err("no pickle").to_string().contains("a data.pkl"));
    let twice = archive(&[("data.pkl", &pickle), ("data.pkl", &pickle)]);
    assert!(open(&twice).expect_err("two").to_string().contains("two called"));
    let big = archive(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 16]), ("a/byteorder", b"big")]);
    assert!(open(&big).expect_err("big").to_string().contains("byte order"));
    // The method of compression, in the directory's first entry.
    let mut packed = whole.clone();
    let entry = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").expect("an entry");
    packed[entry + 10] = 8;
    assert!(open(&packed).expect_err("packed").to_string().contains("compressed"));
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name))
        .expect("a fixture")
}

/// Reads everything a file offers, as a loader would.
fn read_all(bytes: &[u8]) {
    let Ok(file) = open(bytes) else { return };
    for name in file.names() {
        let info = file.info(&name).expect("it is listed");
        if let Ok(tensor) = file.tensor(&name) {
            assert_eq!(tensor.shape, info.shape);
            assert_eq!(tensor.data.len(), info.shape.iter().product::<usize>());
        }
        file.release(&name);
    }
}

#[test]
fn old_checkpoints_that_are_cut_anywhere_are_errors() {
    let whole = fixture("legacy.pth");
    for end in (0..whole.len()).step_by(3) {
        assert!(open(&whole[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn arbitrary_pickles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let location = Location::of_bytes("x", bytes.clone());
        let bytes = Bytes::open(&location, "bytes").expect("bytes");
        let _ = machine::read(&mut Cursor::new(&location, &bytes, 0..bytes.size(), 1 << 20, "a test"));
    }

    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        kept in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        which in 0..4_usize,
    ) {
        let mut bytes = fixture(["plain.pth", "legacy.pth", "trainer.ckpt", "word_old.pt"][which]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(kept.index(bytes.len()));
        }
        read_all(&bytes);
    }
}
