//! The latents of the pictures that a drawing starts from, for the next drawing that starts from them.

use std::mem;

use burn::tensor::Tensor;
use hypersd_core::{Image, Rng};

use crate::Error;

/// The encodings of the last drawing.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    /// Of the drawing before, as far as they were not taken.
    before: Vec<(Encoded, Tensor<4>)>,
    kept: Vec<(Encoded, Tensor<4>)>,
    all_taken: bool,
}

/// All that decides latents.
#[derive(Debug, PartialEq)]
pub(super) struct Encoded {
    /// The pictures, at the size that is drawn.
    pub(super) images: Vec<Image>,
    /// The pixels that are left out, where some are.
    pub(super) painted: Option<Vec<bool>>,
    /// The draw that decides among the latents of the pictures, where anything does: whose, the seed, its place after so
    /// many of a shape.
    pub(super) sample: Option<(Rng, u64, (usize, [usize; 4]))>,
}

impl Encodings {
    /// Begins a drawing.
    pub(super) fn turn(&mut self) {
        self.before = mem::take(&mut self.kept);
        self.all_taken = true;
    }

    /// True where the drawing has latents, and took all of them from the one before.
    pub(super) fn are_reused(&self) -> bool {
        self.all_taken && !self.kept.is_empty()
    }

    /// The latents of what is encoded: those of the drawing before, where it had them.
    pub(super) fn latents(
        &mut self,
        what: Encoded,
        encode: impl FnOnce(&Encoded) -> Result<Tensor<4>, Error>,
    ) -> Result<Tensor<4>, Error> {
        let latents = match self.before.iter().position(|(same, _)| *same == what) {
            Some(at) => self.before.swap_remove(at).1,
            None => {
                self.all_taken = false;
                encode(&what)?
            }
        };
        self.kept.push((what, latents.clone()));
        Ok(latents)
    }
}
