//! Numbers as vectors: sinusoids and the small network behind them.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::slots;

use crate::{layers::Linear, ops};

/// The rule by which a number becomes a vector of sines and cosines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sinusoid {
    /// Length of the vector.
    pub(crate) width: usize,
    /// Cosines before sines.
    pub(crate) flip_sin_to_cos: bool,
    /// Taken from the divisor of the frequencies' exponent.
    pub(crate) freq_shift: f64,
}

impl Sinusoid {
    /// The vectors of `numbers` after one another, `[numbers.len() · width]`.
    ///
    /// Computed on the host in f32: angles reach 1000 radians, where the cosine of some GPUs is not to be trusted.
    pub(crate) fn encode(&self, numbers: &[f32]) -> Vec<f32> {
        let half = self.width / 2;
        let divisor = (half as f64 - self.freq_shift) as f32;
        let frequency = |i: usize| (-(10_000_f64.ln()) as f32 * i as f32 / divisor).exp();
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let mut vectors = Vec::with_capacity(numbers.len() * self.width);
        for &number in numbers {
            let sines = frequencies.iter().map(|f| (number * f).sin());
            let cosines = frequencies.iter().map(|f| (number * f).cos());
            if self.flip_sin_to_cos {
                vectors.extend(cosines.chain(sines));
            } else {
                vectors.extend(sines.chain(cosines));
            }
        }
        vectors
    }
}

/// The two dense layers after a sinusoid (diffusers' `TimestepEmbedding`).
#[derive(Debug, Clone)]
pub(crate) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

slots!(TimestepEmbedding { linear_1, linear_2 });

impl TimestepEmbedding {
    pub(crate) fn new(d_in: usize, d_out: usize, device: &Device) -> Self {
        Self { linear_1: Linear::new(d_in, d_out, device), linear_2: Linear::new(d_out, d_out, device) }
    }

    /// `[B, d_in]` → `[B, d_out]`, in the type that is computed in.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = x.cast(self.dtype());
        ops::linear(ops::silu(ops::linear(x, &self.linear_1)), &self.linear_2)
    }

    /// Rows computed on the host, on the device of the weights.
    pub(crate) fn upload(&self, rows: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(rows, shape), (self.linear_1.device(), DType::F32))
    }

    pub(crate) fn dtype(&self) -> FloatDType {
        self.linear_1.activation_dtype()
    }
}
