//! Names of models: a path, or a place on the Hugging Face hub.

use std::path::{Path, PathBuf};

use hypersd_core::Location;

use crate::Error;

/// Names that end so are files of weights, not repositories.
const WEIGHT_ENDS: [&str; 6] = [".safetensors", ".gguf", ".ckpt", ".bin", ".pth", ".pt"];

/// A place on the Hugging Face hub: `owner/name[@revision][/path]`.
///
/// ```
/// use hypersd::HubReference;
///
/// let lora = HubReference::parse("ByteDance/Hyper-SD/Hyper-SDXL-1step-lora.safetensors").unwrap();
/// assert_eq!(lora.repository, "ByteDance/Hyper-SD");
/// assert_eq!(lora.path.as_deref(), Some("Hyper-SDXL-1step-lora.safetensors"));
///
/// let model = HubReference::parse("stabilityai/stable-diffusion-xl-base-1.0@main").unwrap();
/// assert_eq!((model.revision.as_deref(), model.path), (Some("main"), None));
///
/// assert_eq!(HubReference::parse("./models/sd15"), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit; `None` is `main`.
    pub revision: Option<String>,
    /// A file or a folder in the repository; `None` is all of it.
    pub path: Option<String>,
}

impl HubReference {
    /// Reads `owner/name[@revision][/path]`; `None` for what is written like a path, or cannot be the name of a
    /// repository.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, rest) = text.split_once('/')?;
        let (name, path) = match rest.split_once('/') {
            Some((name, path)) => (name, Some(path)),
            None => (rest, None),
        };
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (name, None),
        };
        let is_file = path.is_none() && WEIGHT_ENDS.iter().any(|end| name.ends_with(end));
        let valid = !is_file
            && [Some(owner), Some(name), revision].into_iter().flatten().all(is_name)
            && path.is_none_or(is_plain_path);
        valid.then(|| Self {
            repository: format!("{owner}/{name}"),
            revision: revision.map(String::from),
            path: path.map(String::from),
        })
    }
}

impl std::fmt::Display for HubReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        self.path.iter().try_for_each(|path| write!(f, "/{path}"))
    }
}

/// The meaning of a name.
pub(crate) enum Meaning {
    Path(PathBuf),
    Hub(HubReference),
}

pub(crate) fn meaning(given: &Path) -> Result<Meaning, Error> {
    if Location::from(given).exists() {
        return Ok(Meaning::Path(given.to_path_buf()));
    }
    given.to_str().and_then(HubReference::parse).map(Meaning::Hub).ok_or_else(|| Error::NoSuchModel {
        given: given.display().to_string(),
        instead: "give a path that is there, or a place on the Hugging Face hub as owner/name[/file]".into(),
    })
}

/// True for what an owner, a repository or a revision may be called.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with(['.', '-']) && !name.contains("..") && name.chars().all(allowed)
}

/// True where a path stays below where it starts, and needs no escaping in a URL.
pub(crate) fn is_plain_path(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && !r#"\:?#%*"<>|"#.contains(c);
    path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.chars().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_the_hub_are_told_from_paths() {
        for (text, repository, revision, path) in [
            ("a/b", "a/b", None, None),
            ("ByteDance/Hyper-SD", "ByteDance/Hyper-SD", None, None),
            ("a/b@v1.0", "a/b", Some("v1.0"), None),
            ("a/b@fp16/unet", "a/b", Some("fp16"), Some("unet")),
            ("a/b/c/d (1).safetensors".replace(' ', "_").as_str(), "a/b", None, Some("c/d_(1).safetensors")),
        ] {
            let reference = HubReference::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(reference.repository, repository);
            assert_eq!(
                (reference.revision.as_deref(), reference.path.as_deref()),
                (revision, path),
                "{text}"
            );
            assert_eq!(reference.to_string(), text);
        }
        for text in [
            "",
            "a",
            "/a/b",
            "./a",
            "../a/b",
            "~/a",
            "a/",
            "a//b",
            "a/../b",
            "a/b/..",
            "a/b/",
            "a\\b",
            "C:/a",
            "a/b.safetensors",
            "a/b.ckpt",
            "a/.b",
            "-a/b",
            "a/b@",
            "a/b c",
            "a/b/c\0d",
            "a/b/%2e%2e",
            "a/b/c?d",
            "https://huggingface.co/a/b",
        ] {
            assert_eq!(HubReference::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_path_that_exists_wins() {
        let Ok(Meaning::Path(path)) = meaning(Path::new("src/reference.rs")) else {
            panic!("this file is there")
        };
        assert_eq!(path, Path::new("src/reference.rs"));
        let Ok(Meaning::Hub(reference)) = meaning(Path::new("src/referred.rs")) else { panic!("no file") };
        assert_eq!(reference.repository, "src/referred.rs");
    }

    #[test]
    fn what_is_neither_names_both() {
        let error = meaning(Path::new("./nowhere")).err().expect("nothing there").to_string();
        assert!(
            error.contains("./nowhere") && error.contains("path") && error.contains("owner/name"),
            "{error}"
        );
    }
}
