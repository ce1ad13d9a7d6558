//! Random weights, which are not committed but drawn again: what was drawn for them is on lists beside the fixtures.
//!
//! `reference/weights.py` writes the lists and tells their form. PyTorch's generator on the CPU is [`Noise`] bit for
//! bit, and every file's digest is on its list, so that both sides provably have the same weights.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{LazyLock, Mutex},
    thread,
};

use half::f16;
use hypersd_core::{Noise, Rng};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

use crate::{fixtures, repository};

/// The folder with all that is on the lists of draws in the fixtures of a package, by its folder in the repository as for
/// [`fixtures`]: complete models, their small files with them.
///
/// The first test that asks draws; whoever comes later, in another program too, finds the folder under `target`. Its
/// name is a digest of all that goes into it, so that what others than these lists made is never found.
///
/// # Panics
/// If a list is not as it should be, if what is drawn has not the digest that is on it, or if nothing can be written.
#[must_use]
pub fn weights(package: &str) -> PathBuf {
    static MADE: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.entry(package.to_string()).or_insert_with(|| make(&fixtures(package))).clone()
}

/// Finds the folder that belongs to the lists of these fixtures, or makes it.
fn make(fixtures: &Path) -> PathBuf {
    let lists = lists(fixtures);
    let small = small_files(fixtures, &lists);
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let folder = target.join("weights").join(key(fixtures, &small));
    if folder.is_dir() {
        return folder;
    }
    // Others may be making the same: each makes its own, and the first gives it the name.
    let unfinished = folder.with_extension(process::id().to_string());
    for file in &small {
        write(&unfinished.join(file), &read(&fixtures.join(file)));
    }
    thread::scope(|scope| {
        for list in &lists {
            scope.spawn(|| draw(fixtures, list, &unfinished));
        }
    });
    if let Err(error) = fs::rename(&unfinished, &folder) {
        assert!(folder.is_dir(), "{}: {error}", folder.display());
        fs::remove_dir_all(&unfinished).unwrap_or_else(|e| panic!("{}: {e}", unfinished.display()));
    }
    folder
}

/// A list of draws, by its path under the fixtures, without its extension.
struct List {
    path: PathBuf,
    text: String,
}

impl List {
    /// The files on it, their metadata's format, and their digests.
    fn files(&self) -> impl Iterator<Item = [&str; 3]> {
        self.lines().filter_map(|columns| match columns[..] {
            ["file", file, format, digest] => Some([file, format, digest]),
            _ => None,
        })
    }

    fn lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.text.lines().map(|line| line.split('\t').collect())
    }
}

fn lists(fixtures: &Path) -> Vec<List> {
    let paths = entries(&fixtures.join("weights")).into_iter().filter(|path| has_extension(path, "tsv"));
    let list = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        List { path: relative(&path.with_extension(""), fixtures), text }
    };
    paths.map(list).collect()
}

/// What is not weights in the folders that the lists draw into, by path under the fixtures.
fn small_files(fixtures: &Path, lists: &[List]) -> Vec<PathBuf> {
    let mut folders: Vec<&str> =
        lists.iter().flat_map(List::files).filter_map(|[file, ..]| Some(file.split_once('/')?.0)).collect();
    folders.sort_unstable();
    folders.dedup();
    let files = folders.iter().flat_map(|folder| walk(&fixtures.join(folder)));
    files.filter(|path| !has_extension(path, "safetensors")).map(|path| relative(&path, fixtures)).collect()
}

/// A digest of the lists, of what was fitted, and of the small files.
fn key(fixtures: &Path, small: &[PathBuf]) -> String {
    let mut hash = Sha256::new();
    for file in entries(&fixtures.join("weights")).into_iter().chain(small.iter().map(|s| fixtures.join(s))) {
        let bytes = read(&file);
        hash.update(format!("{}\n{}\n", relative(&file, fixtures).display(), bytes.len()));
        hash.update(bytes);
    }
    hex(&hash.finalize()[..8])
}

/// A stored tensor.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Draws the files of a list into a folder.
fn draw(fixtures: &Path, list: &List, folder: &Path) {
    let mut fitted = fitted(&fixtures.join(&list.path).with_extension("safetensors"));
    let mut noise = None;
    let mut files: BTreeMap<&str, BTreeMap<&str, Stored>> = BTreeMap::new();
    let mut current = "";
    for columns in list.lines() {
        let (name, stored) = match columns[..] {
            ["seed", seed] => {
                noise = Some(Noise::new(Rng::TorchCpu, number(seed)));
                continue;
            }
            ["skip", count] => {
                let _ = noise.as_mut().expect("a seed first").normal(&[number(count)]);
                continue;
            }
            ["file", file, ..] => {
                current = file;
                continue;
            }
            ["value", name, dtype, value] => (name, stored(dtype, Vec::new(), &[number(value)])),
            ["draw", name, dtype, extents, scale, shift] => {
                let shape: Vec<usize> = extents.split('x').map(number).collect();
                let (scale, shift): (f32, f32) = (number(scale), number(shift));
                let x = noise.as_mut().expect("a seed first").normal(&shape).to_f32().into_owned();
                let x: Vec<f32> = x.iter().map(|x| x * scale + shift).collect();
                (name, stored(dtype, shape, &x))
            }
            _ => panic!("{}: {columns:?}", list.path.display()),
        };
        let stored = fitted.remove(&format!("{current}:{name}")).unwrap_or(stored);
        files.entry(current).or_default().insert(name, stored);
    }
    assert!(fitted.is_empty(), "{}: fitted, but not drawn: {:?}", list.path.display(), fitted.keys());
    for [file, format, digest] in list.files() {
        let bytes = serialized(&files[file], format);
        assert_eq!(sha256(&bytes), digest, "{}: {file} is not what PyTorch drew", list.path.display());
        write(&folder.join(file), &bytes);
    }
}

/// The tensors that are kept as they are, by file and name.
fn fitted(path: &Path) -> BTreeMap<String, Stored> {
    let Ok(bytes) = fs::read(path) else { return BTreeMap::new() };
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let stored = |view: &TensorView<'_>| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    file.iter().map(|(name, view)| (name.to_string(), stored(&view))).collect()
}

fn stored(dtype: &str, shape: Vec<usize>, x: &[f32]) -> Stored {
    let (dtype, bytes) = match dtype {
        "F16" => (Dtype::F16, x.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
        "F32" => (Dtype::F32, x.iter().flat_map(|x| x.to_le_bytes()).collect()),
        other => panic!("weights are stored as F16 or F32, found {other:?}"),
    };
    Stored { dtype, shape, bytes }
}

fn serialized(tensors: &BTreeMap<&str, Stored>, format: &str) -> Vec<u8> {
    let metadata = (format != "-").then(|| HashMap::from([("format".to_string(), format.to_string())]));
    let views = tensors.iter().map(|(name, Stored { dtype, shape, bytes })| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor of its shape"))
    });
    safetensors::serialize(views, metadata).expect("a safetensors file")
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a number, found {text:?}"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    let written = fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(path, bytes));
    written.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

fn relative(path: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(to).expect("a path under the fixtures").to_path_buf()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// What is in a folder, in the order of the names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// All files in a folder and in those in it.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    entries(folder).into_iter().flat_map(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGES: [&str; 3] = ["", "crates/hypersd-models", "crates/hypersd-controlnet"];

    /// Not what was found of an earlier run, but what is drawn now.
    #[test]
    fn all_files_are_drawn_as_pytorch_drew_them() {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        for package in PACKAGES {
            for list in lists(&fixtures(package)) {
                draw(&fixtures(package), &list, scratch.path());
                assert_ne!(list.files().count(), 0, "{}", list.path.display());
            }
        }
    }

    #[test]
    fn what_is_handed_out_is_whole() {
        for package in PACKAGES {
            let folder = weights(package);
            assert_eq!(folder, make(&fixtures(package)), "the same again");
            let lists = lists(&fixtures(package));
            for [file, _, digest] in lists.iter().flat_map(List::files) {
                assert_eq!(sha256(&read(&folder.join(file))), digest, "{file}");
            }
            for file in small_files(&fixtures(package), &lists) {
                assert_eq!(read(&folder.join(&file)), read(&fixtures(package).join(&file)), "{file:?}");
            }
        }
        assert!(weights("").join("tiny-sdxl/tokenizer_2/merges.txt").is_file(), "small files are there too");
    }

    #[test]
    #[should_panic(expected = "is not what PyTorch drew")]
    fn another_seed_is_found_out() {
        let fixtures = fixtures("crates/hypersd-controlnet");
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let list = lists(&fixtures).remove(0);
        let text = list.text.replacen("seed\t11", "seed\t12", 1);
        assert_ne!(text, list.text);
        draw(&fixtures, &List { text, ..list }, scratch.path());
    }
}
