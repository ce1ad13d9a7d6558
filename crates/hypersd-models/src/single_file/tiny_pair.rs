//! The original TAESD: an encoder and a decoder in a file each.

use std::sync::Arc;

use hypersd_core::{Error as Core, Joined, Location, SharedSource, TensorSource, WeightFile};

use crate::{Error, keys};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Encoder,
    Decoder,
}

impl Half {
    /// Which half the numbers of the layers show, if any.
    fn of(source: &dyn TensorSource) -> Option<Self> {
        let has = |name| source.info(name).is_some();
        match (has("0.weight"), has("1.weight")) {
            (true, false) if has("1.conv.0.weight") => Some(Self::Encoder),
            (false, true) if has("3.conv.0.weight") => Some(Self::Decoder), // 0 clamps and has no weights
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Encoder => Self::Decoder,
            Self::Decoder => Self::Encoder,
        }
    }

    fn canonical(self, source: SharedSource) -> Result<SharedSource, Error> {
        let table = match self {
            Self::Encoder => keys::tiny_vae::encoder(),
            Self::Decoder => keys::tiny_vae::decoder(),
        };
        let names = source.names();
        Ok(Arc::new(table.apply(&source, "", names)?))
    }
}

/// The whole network, where `file` is one half: the other is beside it, under the same name but for the half's. Any
/// other file stays as it is.
pub(super) fn complete(location: &Location, file: SharedSource) -> Result<SharedSource, Error> {
    let Some(half) = Half::of(&*file) else { return Ok(file) };
    let lacks = |instead| Core::Unsupported {
        origin: location.to_string(),
        found: format!("the {} of a TAESD alone", half.name()),
        instead,
    };
    let name = location.file_name().unwrap_or_default();
    if !name.contains(half.name()) {
        let instead = format!("name it taesd_{}.safetensors, and the other half likewise", half.name());
        return Err(lacks(instead).into());
    }
    let beside = location.with_file_name(&name.replace(half.name(), half.other().name()));
    if !beside.exists() {
        return Err(lacks(format!("put {beside} beside it")).into());
    }
    let other: SharedSource = Arc::new(WeightFile::open(&beside)?);
    if Half::of(&*other) != Some(half.other()) {
        let (origin, expected) = (beside.to_string(), format!("the {} of a TAESD", half.other().name()));
        return Err(Core::Format { origin, expected, found: "other tensors".into() }.into());
    }
    Ok(Arc::new(Joined::new([half.canonical(file)?, half.other().canonical(other)?])?))
}
