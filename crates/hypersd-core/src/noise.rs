//! Gaussian noise that means what a seed means in diffusers.

mod mt19937;
mod philox;
mod torch_cpu;

use self::{philox::Philox, torch_cpu::TorchCpu};
use crate::host::HostTensor;

/// Whose noise a seed stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rng {
    /// `torch.Generator("cpu")` of a PyTorch with AVX2, bit for bit: what reproducible examples use.
    ///
    /// Only the low 32 bits of a seed count, as in PyTorch.
    #[default]
    TorchCpu,
    /// `torch.Generator("cuda")`, to about 1e-6 (a GPU's fast logarithm and sine are not reproduced).
    ///
    /// PyTorch spreads a draw over as many threads as the GPU holds at once, so its numbers depend on the GPU as
    /// soon as a draw has more elements than that. The stream here is that of a GPU which holds them all: one
    /// element, one thread. That is true of every draw for one 512x512 image (16,384 elements); for 65,536
    /// elements (1024x1024) it takes 32 multiprocessors of 2,048 threads, and smaller cards differ.
    TorchCuda,
}

/// Its name, as pictures keep it: `torch-cpu`, `torch-cuda`.
impl std::fmt::Display for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TorchCpu => "torch-cpu",
            Self::TorchCuda => "torch-cuda",
        })
    }
}

/// A seeded stream of standard normal numbers.
///
/// The numbers of a draw depend on the draws before it *and on their sizes*: draw what diffusers draws, in its
/// order. A clone continues the stream on its own.
///
/// ```
/// use hypersd_core::{Noise, Rng};
///
/// let mut noise = Noise::new(Rng::TorchCpu, 0); // torch.manual_seed(0)
/// let x = noise.normal(&[1, 4, 64, 64]); //         torch.randn(1, 4, 64, 64)
/// assert_eq!(x.to_f32()[..2], [-1.1258398, -1.1523602]);
/// ```
#[derive(Debug, Clone)]
pub struct Noise(Stream);

#[derive(Debug, Clone)]
enum Stream {
    Cpu(TorchCpu),
    Cuda(Philox),
}

impl Noise {
    /// The stream that `generator.manual_seed(seed)` starts.
    ///
    /// PyTorch takes a negative seed modulo 2^64: pass `-1_i64 as u64` for its `-1`.
    #[must_use]
    pub fn new(rng: Rng, seed: u64) -> Self {
        Self(match rng {
            Rng::TorchCpu => Stream::Cpu(TorchCpu::new(seed)),
            Rng::TorchCuda => Stream::Cuda(Philox::new(seed)),
        })
    }

    /// Draws `torch.randn(shape)`: f32, mean 0, standard deviation 1, row-major.
    ///
    /// A half-precision draw of PyTorch 2.15 is this one rounded, if its size is a multiple of 16 (latents are).
    #[must_use]
    pub fn normal(&mut self, shape: &[usize]) -> HostTensor<'static> {
        let n = shape.iter().product();
        let data = match &mut self.0 {
            Stream::Cpu(stream) => stream.normal(n),
            Stream::Cuda(stream) => stream.normal(n),
        };
        HostTensor::from_f32(shape, data)
    }
}
