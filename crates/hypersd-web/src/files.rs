//! The files that a model is opened from.

use std::mem;

use hypersd::{FileTree, Location};
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::Blob;

use crate::blob::BlobSource;

/// Named files: of a model, of LoRAs, of ControlNets, with paths like `unet/config.json`.
#[wasm_bindgen]
#[derive(Debug, Clone)]
pub struct Files(FileTree);

#[wasm_bindgen]
impl Files {
    /// No files yet. Messages call them `name`.
    #[must_use]
    #[wasm_bindgen(constructor)]
    pub fn new(name: String) -> Self {
        Self(FileTree::new(name))
    }

    /// Adds a file that is in memory.
    #[wasm_bindgen(js_name = addBytes)]
    pub fn add_bytes(&mut self, path: String, bytes: Vec<u8>) {
        self.add(path, bytes);
    }

    /// Adds a file that is read by ranges when it is needed, such as the user picks one. Reading waits for the browser, which
    /// lets only workers do that.
    #[wasm_bindgen(js_name = addBlob)]
    pub fn add_blob(&mut self, path: String, blob: Blob) {
        self.add(path, BlobSource::new(blob));
    }
}

impl Files {
    fn add(&mut self, path: String, bytes: impl hypersd::ByteSource + 'static) {
        let tree = mem::replace(&mut self.0, FileTree::new(""));
        self.0 = tree.with(path, bytes);
    }

    /// A file or folder among them; all of them for the empty path.
    pub(crate) fn at(&self, path: &str) -> Location {
        let root = Location::from(self.0.clone());
        if path.is_empty() { root } else { root.join(path) }
    }
}
