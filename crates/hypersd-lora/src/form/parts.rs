//! The pieces of one module, which forms are made of: checked as they are taken, and read when they are wanted.

use std::{borrow::Cow, collections::BTreeMap};

use hypersd_core::{Error as CoreError, TensorSource};

use super::{scale::Scale, shape::checked_product};
use crate::{
    adapter::Adapter,
    error::Error,
    floats::{first_not_finite, into_f32},
    grammar::Piece,
};

/// The keys of one module, and what is known of it beside them.
pub(crate) struct Parts<'a> {
    pub(crate) source: &'a dyn TensorSource,
    pub(crate) module: &'a str,
    pub(crate) keys: &'a BTreeMap<Piece, String>,
    pub(crate) adapter: Adapter,
}

/// A tensor of a file: not read yet, but known to have elements, as many as fit in memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

impl Parts<'_> {
    pub(crate) fn wrong(&self, expected: &str, found: String) -> Error {
        Error::Module {
            file: self.source.origin(),
            module: self.module.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }

    pub(crate) fn any(&self, pieces: &[Piece]) -> bool {
        pieces.iter().any(|piece| self.keys.contains_key(piece))
    }

    /// A piece that the module must have, with one of these numbers of extents.
    pub(crate) fn factor(&self, piece: Piece, extents: &[usize], described: &str) -> Result<Factor, Error> {
        let name = piece.name();
        let key = self.keys.get(&piece).ok_or_else(|| self.wrong(&format!("a {name}"), "none".into()))?;
        let shape = self.source.info(key).map(|info| info.shape).unwrap_or_default();
        match checked_product(&shape) {
            Some(1..) if extents.contains(&shape.len()) => Ok(Factor { name: key.clone(), shape }),
            _ => Err(self.wrong(&format!("{name} of shape {described}"), format!("{shape:?}"))),
        }
    }

    /// The scale for a rank: the alpha is a tensor of the file or in its metadata, or it is the rank.
    pub(crate) fn scale(&self, rank: usize) -> Result<Scale, Error> {
        if let Some(expected) = self.adapter.rank.filter(|expected| *expected != rank) {
            return Err(self.wrong(&format!("rank {expected}, as the metadata says"), rank.to_string()));
        }
        Ok(match self.alpha()? {
            Some(alpha) => Scale { rank: Some(rank), alpha: Some(alpha), rank_stabilized: false },
            None => Scale {
                rank: Some(rank),
                alpha: self.adapter.alpha,
                rank_stabilized: self.adapter.rank_stabilized,
            },
        })
    }

    /// The alpha of the module itself.
    pub(crate) fn alpha(&self) -> Result<Option<f32>, Error> {
        self.number(Piece::Alpha)
    }

    /// A piece that is one finite number, of shape `[]` or `[1]`.
    pub(crate) fn number(&self, piece: Piece) -> Result<Option<f32>, Error> {
        let Some(name) = self.keys.get(&piece) else { return Ok(None) };
        let wrong = |found: String| self.wrong(&format!("{} to be one finite number", piece.name()), found);
        let shape = self.source.info(name).map(|info| info.shape).unwrap_or_default();
        if !matches!(shape[..], [] | [1]) {
            return Err(wrong(format!("shape {shape:?}")));
        }
        match self.source.tensor(name)?.to_f32()[..] {
            [alpha] if alpha.is_finite() => Ok(Some(alpha)),
            [alpha] => Err(wrong(alpha.to_string())),
            ref many => Err(wrong(format!("{} elements", many.len()))),
        }
    }
}

impl Factor {
    /// Elements of one row.
    pub(crate) fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Reads the factor and checks that it is what the file's header promised, and finite throughout: one NaN
    /// would spread over the whole merged weight and, from there, over every image.
    pub(crate) fn read<'a>(&self, file: &'a dyn TensorSource) -> Result<Cow<'a, [f32]>, CoreError> {
        let tensor = file.tensor(&self.name)?;
        let wrong = |expected: String, found: String| CoreError::Format {
            origin: format!("{}: {}", file.origin(), self.name),
            expected,
            found,
        };
        let shape = tensor.shape.clone();
        let x = into_f32(tensor.data);
        if shape != self.shape || x.len() != self.shape.iter().product::<usize>() {
            return Err(wrong(format!("shape {:?}", self.shape), format!("{shape:?}, {} elements", x.len())));
        }
        match first_not_finite(&x) {
            Some(at) => Err(wrong("finite numbers".into(), format!("{} at element {at}", x[at]))),
            None => Ok(x),
        }
    }
}
