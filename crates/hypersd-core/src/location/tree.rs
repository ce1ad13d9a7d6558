//! Files that are not on disk, in folders.

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use super::Kind;
use crate::bytes::ByteSource;

/// Named files that are not on disk: built into the program, unpacked from an archive, given to a page by its user. Their
/// bytes are [any that can be read](ByteSource).
///
/// Each file has a path from the root with `/` between, such as `unet/config.json`. There are no folders but those that
/// files are in, and no links.
///
/// ```
/// use std::collections::HashMap;
///
/// use hypersd_core::{FileTree, ModelFolder};
///
/// // As any reader of archives gives them: names, and what is in the files.
/// let unpacked: HashMap<String, Vec<u8>> = [
///     ("model_index.json", r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}"#),
///     ("unet/config.json", r#"{"sample_size": 64}"#),
/// ].into_iter().map(|(path, text)| (path.into(), text.into())).collect();
///
/// let tree = unpacked.into_iter().fold(FileTree::new("model.zip"), |tree, (path, bytes)| tree.with(path, bytes));
/// let unet = ModelFolder::open(tree)?.component("unet")?.expect("the index lists it");
/// assert_eq!(unet.location().to_string(), "model.zip: unet");
///
/// let missing = unet.weights(&Default::default()).err().expect("no weights are in the archive");
/// assert!(missing.to_string().contains("model.zip: unet: expected one of diffusion_pytorch_model.safetensors"));
/// # Ok::<(), hypersd_core::Error>(())
/// ```
///
/// Tensors are borrowed from what is in memory, if they are aligned: `include_bytes!` alone does not see to that.
#[derive(Clone)]
pub struct FileTree {
    name: String,
    files: Arc<BTreeMap<String, Arc<dyn ByteSource>>>,
}

impl FileTree {
    /// An empty tree. Messages call it `name`, and leave out a name that is empty.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), files: Arc::default() }
    }

    /// The tree with one more file, in the place of one that had the path before.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, bytes: impl ByteSource + 'static) -> Self {
        Arc::make_mut(&mut self.files).insert(path.into(), Arc::new(bytes));
        self
    }

    /// What messages call the tree.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes of a file.
    pub(super) fn file(&self, path: &str) -> io::Result<Arc<dyn ByteSource>> {
        if let Some(bytes) = self.files.get(path) {
            return Ok(bytes.clone());
        }
        self.kind(path)?;
        Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"))
    }

    pub(super) fn kind(&self, path: &str) -> io::Result<Kind> {
        match () {
            () if self.files.contains_key(path) => Ok(Kind::File),
            () if path.is_empty() || self.below(path).next().is_some() => Ok(Kind::Folder),
            () => Err(io::Error::new(io::ErrorKind::NotFound, "no such file or folder")),
        }
    }

    /// The names of what a folder holds, sorted.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.below(folder).filter_map(|path| path.split('/').next()).map(String::from).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The paths of all files below a folder, from there.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().filter_map(move |path| match folder {
            "" => Some(path.as_str()),
            folder => path.strip_prefix(folder)?.strip_prefix('/'),
        })
    }
}

/// Without the bytes.
impl fmt::Debug for FileTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileTree({:?}, {} files)", self.name, self.files.len())
    }
}
