//! One error type for the crate, split by whose fault it is; pictures wear a coat of their own over it.

use crate::host::Dtype;

/// A failure while reading weights, configurations and images.
///
/// Every variant names the file (or the argument), what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{origin}: {source}")]
    Io {
        /// The file (and the tensor in it, where there is one).
        origin: String,
        /// The error of the system, or of the [source of its bytes](crate::ByteSource).
        source: std::io::Error,
    },
    /// A file is not what its place says it is: truncated, lying about itself, of another format.
    #[error("{origin}: expected {expected}, found {found}")]
    Format {
        /// The file (and the tensor or field in it, where there is one).
        origin: String,
        /// What a valid file has there.
        expected: String,
        /// What this file has there.
        found: String,
    },
    /// A file that hypersd does not read, and what to do instead.
    #[error("{origin}: {found} is not supported; {instead}")]
    Unsupported {
        /// The file.
        origin: String,
        /// The kind of file.
        found: String,
        /// The way on.
        instead: String,
    },
    /// A tensor was asked for that the source does not have.
    #[error("{origin}: no tensor {name:?}{}", nearest(near))]
    NoSuchTensor {
        /// The source.
        origin: String,
        /// The name asked for.
        name: String,
        /// The names nearest to it.
        near: Vec<String>,
    },
    /// The tensors of a source do not fit a network: everything that does not, in one error.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// An argument that cannot be right.
    #[error("{argument}: expected {expected}, found {found}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// The values it may have.
        expected: String,
        /// The value it had.
        found: String,
    },
}

/// An [`Error`] about a picture rather than weights: one that cannot be read or written, is damaged, or has another size
/// than it may have.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ImageError(#[from] pub Error);

/// Why a source cannot fill a network. All findings are listed, none is fixed up.
#[derive(Debug, Default, thiserror::Error)]
#[error("{}", self.report())]
#[non_exhaustive]
pub struct Mismatch {
    /// The source.
    pub origin: String,
    /// Parameters without a tensor, each with the nearest unused names.
    pub missing: Vec<(String, Vec<String>)>,
    /// Tensors without a parameter.
    pub unused: Vec<String>,
    /// Name, the parameter's shape, the tensor's shape.
    pub wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Name and the type found, where a float was expected.
    pub wrong_dtype: Vec<(String, Dtype)>,
}

impl Mismatch {
    /// Long lists are cut: a wrong file mismatches in thousands of places.
    pub(crate) const SHOWN: usize = 12;

    /// True where nothing was found wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unused.is_empty()
            && self.wrong_shape.is_empty()
            && self.wrong_dtype.is_empty()
    }

    fn report(&self) -> String {
        let mut text = format!("{}: the tensors do not fit the model", self.origin);
        let mut section = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return;
            }
            text += &format!("\n  {} {title}:", lines.len());
            for line in lines.iter().take(Self::SHOWN) {
                text += &format!("\n    {line}");
            }
            if lines.len() > Self::SHOWN {
                text += &format!("\n    … and {} more", lines.len() - Self::SHOWN);
            }
        };
        section(
            "missing",
            self.missing.iter().map(|(name, near)| format!("{name}{}", nearest(near))).collect(),
        );
        section("unused", self.unused.clone());
        section(
            "of another shape",
            self.wrong_shape
                .iter()
                .map(|(name, want, got)| format!("{name}: expected {want:?}, found {got:?}"))
                .collect(),
        );
        section(
            "of another type",
            self.wrong_dtype
                .iter()
                .map(|(name, got)| format!("{name}: expected a float type, found {got}"))
                .collect(),
        );
        text
    }
}

fn nearest(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!(" (nearest: {})", near.join(", ")) }
}
