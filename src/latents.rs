//! Burn tensors as samples of a scheduler.

use burn::tensor::Tensor;
use hypersd_schedulers::Sample;

/// Latents `[B, 4, H/8, W/8]`, for a scheduler's arithmetic to run wherever the tensor lives.
#[derive(Debug, Clone)]
pub(crate) struct Latents(pub(crate) Tensor<4>);

impl Sample for Latents {
    fn shape(&self) -> Vec<usize> {
        self.0.dims().to_vec()
    }

    fn linear_combination(terms: &[(f32, &Self)]) -> Self {
        let ((factor, first), rest) = terms.split_first().expect("at least one term");
        let sum = first.0.clone().mul_scalar(*factor);
        Self(rest.iter().fold(sum, |sum, (factor, term)| sum + term.0.clone().mul_scalar(*factor)))
    }

    fn clamp(self, limit: f32) -> Self {
        Self(self.0.clamp(-limit, limit))
    }
}
