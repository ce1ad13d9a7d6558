//! Latents as samples of a scheduler, as fresh noise, and on their way to the host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use hypersd_core::{HostTensor, Noise, Rng};
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
    stream: Stream,
    /// Draws so far.
    place: usize,
    /// `[B, 4, H/8, W/8]`
    shape: [usize; 4],
    device: Device,
}

/// Where noise comes from.
#[derive(Debug)]
enum Stream {
    Fresh(Noise),
    /// What was drawn for an earlier picture.
    Kept(KeptNoise),
}

/// The draws of one seed, for whoever draws from it again.
#[derive(Debug, Clone)]
pub(crate) struct KeptNoise(Arc<Mutex<Draws>>);

#[derive(Debug)]
struct Draws {
    rng: Rng,
    seed: u64,
    draws: Vec<Tensor<4>>,
    /// The stream after them.
    stream: Noise,
}

impl KeptNoise {
    /// The most numbers that are kept: the noise of 64 steps at 1024x1024, 16 MiB.
    const MOST: usize = 1 << 22;

    pub(crate) fn new(rng: Rng, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Draws { rng, seed, draws: Vec::new(), stream: Noise::new(rng, seed) })))
    }

    /// True where this is the noise of a seed.
    pub(crate) fn is_of(&self, rng: Rng, seed: u64) -> bool {
        let draws = self.draws();
        (draws.rng, draws.seed) == (rng, seed)
    }

    /// True where a draw of this shape is kept.
    pub(crate) fn has(&self, shape: [usize; 4]) -> bool {
        self.draws().draws.iter().any(|draw| draw.dims() == shape)
    }

    /// The number of draws that there are, for the tests.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.draws().draws.len()
    }

    /// Draw number `place`, and the stream from there on if no more is kept.
    fn draw(&self, place: usize, shape: [usize; 4], device: &Device) -> (Tensor<4>, Option<Noise>) {
        let mut kept = self.draws();
        let Draws { rng, seed, draws, stream } = &mut *kept;
        match draws.get(place) {
            Some(draw) if draw.dims() == shape => return (draw.clone(), None),
            Some(_) => {
                // The numbers depend on the sizes of the draws before: draw those again.
                *stream = Noise::new(*rng, *seed);
                draws.truncate(place);
                for draw in draws.iter() {
                    let _ = stream.normal(&draw.dims());
                }
            }
            None => {}
        }
        let draw = normal(stream, shape, device);
        let numbers: usize =
            draws.iter().chain([&draw]).map(|draw| draw.dims().iter().product::<usize>()).sum();
        if numbers <= Self::MOST {
            draws.push(draw.clone());
            return (draw, None);
        }
        // What is kept must stay what comes before the stream.
        let on = stream.clone();
        *stream = Noise::new(*rng, *seed);
        for draw in draws.iter() {
            let _ = stream.normal(&draw.dims());
        }
        (draw, Some(on))
    }

    fn draws(&self) -> MutexGuard<'_, Draws> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn normal(stream: &mut Noise, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let noise = stream.normal(&shape).to_f32().into_owned();
    Tensor::from_data(TensorData::new(noise, shape), (device, DType::F32))
}

impl NoiseSource {
    pub(crate) fn new(noise: Noise, shape: [usize; 4], device: Device) -> Self {
        Self { stream: Stream::Fresh(noise), place: 0, shape, device }
    }

    /// The same numbers, of which those that were drawn before are taken from where they are kept.
    pub(crate) fn kept(noise: KeptNoise, shape: [usize; 4], device: Device) -> Self {
        Self { stream: Stream::Kept(noise), place: 0, shape, device }
    }

    /// One draw for the whole batch, in f32.
    pub(crate) fn draw(&mut self) -> Latents {
        Latents(self.draw_for(self.shape[0]))
    }

    /// One draw for so many pictures, in f32.
    pub(crate) fn draw_for(&mut self, pictures: usize) -> Tensor<4> {
        let [_, channels, h, w] = self.shape;
        let shape = [pictures, channels, h, w];
        let (draw, on) = match &mut self.stream {
            Stream::Fresh(noise) => (normal(noise, shape, &self.device), None),
            Stream::Kept(kept) => kept.draw(self.place, shape, &self.device),
        };
        self.place += 1;
        if let Some(noise) = on {
            self.stream = Stream::Fresh(noise);
        }
        draw
    }

    /// The number of draws so far, and the shape of each for the whole batch: with the seed, they say what comes next.
    pub(crate) fn place(&self) -> (usize, [usize; 4]) {
        (self.place, self.shape)
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    fn numbers(x: &Tensor<4>) -> Vec<f32> {
        host_tensor(x.clone()).to_f32().into_owned()
    }

    /// Draws of `sizes`, in latents along a side, are what a fresh stream gives; returned is how many are kept then.
    fn drawn_as_fresh(kept: &KeptNoise, sizes: &[usize]) -> usize {
        let device = Device::flex();
        let mut fresh = Noise::new(Rng::TorchCpu, 7);
        let mut again = NoiseSource::kept(kept.clone(), [1, 4, sizes[0], 8], device.clone());
        for &size in sizes {
            again.shape = [1, 4, size, 8];
            let want = normal(&mut fresh, again.shape, &device);
            assert_eq!(numbers(&again.draw().0), numbers(&want), "{sizes:?}");
        }
        kept.len()
    }

    #[test]
    fn kept_noise_is_that_of_its_seed_whatever_is_drawn_of_it() {
        let kept = KeptNoise::new(Rng::TorchCpu, 7);
        assert!(kept.is_of(Rng::TorchCpu, 7) && !kept.is_of(Rng::TorchCpu, 8));
        assert_eq!(drawn_as_fresh(&kept, &[2, 2, 2]), 3);
        assert_eq!(drawn_as_fresh(&kept, &[2, 2]), 3, "what is not asked for stays");
        assert_eq!(drawn_as_fresh(&kept, &[2, 3, 2, 2]), 4, "another size, and what comes after it");
        assert_eq!(drawn_as_fresh(&kept, &[3]), 1);
        // A little over half of what is kept, twice: the second is not, and what is drawn then still comes after it.
        let most = KeptNoise::MOST / (2 * 4 * 8) + 8;
        assert_eq!(drawn_as_fresh(&kept, &[most, most, 2]), 1);
        assert_eq!(drawn_as_fresh(&kept, &[most, 2, 2]), 3);
    }
}
