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
    /// Of a network that is told the guidance scale.
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
}

slots!(TimestepEmbedding { cond_proj, linear_1, linear_2 });

impl TimestepEmbedding {
    pub(crate) fn new(d_in: usize, d_out: usize, device: &Device) -> Self {
        Self {
            cond_proj: None,
            linear_1: Linear::new(d_in, d_out, device),
            linear_2: Linear::new(d_out, d_out, device),
        }
    }

    /// The same for a network that is told the guidance scale, as a vector of this width, if any.
    pub(crate) fn with_guidance(self, width: Option<usize>, d_in: usize, device: &Device) -> Self {
        Self { cond_proj: width.map(|width| Linear::new(width, d_in, device).without_bias()), ..self }
    }

    /// Adds the [vectors](guidance_vectors) of guidance scales to those of timesteps; one scale for all, or one for each.
    ///
    /// # Shapes
    /// - x `[T, d_in]`, scales `S` → `[max(T, S), d_in]`
    pub(crate) fn add_guidance(&self, x: Tensor<2>, width: usize, scales: &[f32]) -> Tensor<2> {
        let Some(projection) = &self.cond_proj else { return x };
        let vectors = self.upload(guidance_vectors(scales, width), [scales.len(), width]);
        x.cast(self.dtype()) + ops::linear(vectors.cast(self.dtype()), projection)
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

/// The vectors of guidance scales after one another, `[scales.len() · width]`: sines, then cosines of `1000 · (scale − 1)`
/// (diffusers' `get_guidance_scale_embedding` of `guidance_scale - 1`).
///
/// On the host, in f32 and in diffusers' order: the angles reach many thousand radians, of which every bit shows.
fn guidance_vectors(scales: &[f32], width: usize) -> Vec<f32> {
    let half = width / 2;
    let step = 10_000_f32.ln() / (half as f32 - 1.0);
    let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * -step).exp()).collect();
    let mut vectors = Vec::with_capacity(scales.len() * width);
    for scale in scales {
        let number = (scale - 1.0) * 1000.0;
        vectors.extend(frequencies.iter().map(|f| (number * f).sin()));
        vectors.extend(frequencies.iter().map(|f| (number * f).cos()));
        vectors.resize(vectors.len() + width % 2, 0.0);
    }
    vectors
}
