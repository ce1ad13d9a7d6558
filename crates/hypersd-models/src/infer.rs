//! Configurations of networks whose files have none: from the shapes of their tensors, and the family for the rest.
//!
//! What no shape says is the same in a whole family: heads, activations, norm groups of 32, the VAE's scale. The
//! sources here are under the networks' own names.

use hypersd_core::{Error as Core, TensorSource};

use crate::Error;

mod clip;
mod tiny_vae;
mod unet;
mod vae;

pub(crate) use clip::clip_text;
pub(crate) use tiny_vae::tiny_vae;
pub(crate) use unet::{NUMBER_WIDTH, family, unet};
pub(crate) use vae::vae;

/// The shapes of a source, which is not trusted to have the right ones.
struct Shapes<'a>(&'a dyn TensorSource);

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.info(name).is_some()
    }

    /// One extent of a tensor that the network cannot do without.
    fn extent(&self, name: &str, axis: usize) -> Result<usize, Error> {
        let Some(info) = self.0.info(name) else {
            let (origin, name) = (self.0.origin(), name.to_string());
            return Err(Core::NoSuchTensor { origin, name, near: Vec::new() }.into());
        };
        info.shape.get(axis).copied().ok_or_else(|| {
            Core::Format {
                origin: format!("{}, tensor {name:?}", self.0.origin()),
                expected: format!("at least {} extents", axis + 1),
                found: format!("shape {:?}", info.shape),
            }
            .into()
        })
    }

    fn rank(&self, name: &str) -> Option<usize> {
        Some(self.0.info(name)?.shape.len())
    }

    /// The count of consecutive numbers, from 0 on, that give a name that is there.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&n| self.has(&name(n))).count()
    }
}
