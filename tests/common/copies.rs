//! Copies of tiny models with something changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A copy of a folder in `scratch`, under its own name.
pub(crate) fn copied(folder: &Path, scratch: &Path) -> PathBuf {
    let copy = scratch.join(folder.file_name().expect("a folder's name"));
    copy_into(folder, &copy);
    copy
}

fn copy_into(folder: &Path, copy: &Path) {
    fs::create_dir_all(copy).expect("a folder");
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = copy.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_into(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// Changes a JSON file.
pub(crate) fn replaced(file: &Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(file).expect("a file");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut value);
    fs::write(file, value.to_string()).expect("a file");
}
