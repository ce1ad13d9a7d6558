//! Latents as samples of a scheduler, as fresh noise, and on their way to the host.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::{HostTensor, Noise};
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

/// Noise in the shape of the latents, drawn on the host so that it is the same on every device.
#[derive(Debug)]
pub(crate) struct NoiseSource {
    noise: Noise,
    /// `[B, 4, H/8, W/8]`
    shape: [usize; 4],
    device: Device,
}

impl NoiseSource {
    pub(crate) fn new(noise: Noise, shape: [usize; 4], device: Device) -> Self {
        Self { noise, shape, device }
    }

    /// One draw for the whole batch, in f32.
    pub(crate) fn draw(&mut self) -> Latents {
        Latents(self.draw_for(self.shape[0]))
    }

    /// One draw for so many pictures, in f32.
    pub(crate) fn draw_for(&mut self, pictures: usize) -> Tensor<4> {
        let [_, channels, h, w] = self.shape;
        let shape = [pictures, channels, h, w];
        let noise = self.noise.normal(&shape).to_f32().into_owned();
        Tensor::from_data(TensorData::new(noise, shape), (&self.device, DType::F32))
    }

    /// The device that the noise goes to.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Pictures of the batch.
    pub(crate) fn batch(&self) -> usize {
        self.shape[0]
    }
}

/// Reads a tensor back, in f32.
pub(crate) fn host_tensor<const D: usize>(x: Tensor<D>) -> HostTensor<'static> {
    let shape = x.dims();
    let data = x.cast(FloatDType::F32).into_data().try_into_vec_as().expect("a tensor that was cast to f32");
    HostTensor::from_f32(shape, data)
}
