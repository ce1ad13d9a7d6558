//! From what a request starts with to the latents of the first step, and to what holds the drawing to a picture.

use burn::tensor::{DType, Device, Tensor, TensorData};
use hypersd_core::{Image, Rng};
use hypersd_schedulers::Step;

use super::{
    Plan,
    autoencoder::{Autoencoder, pixels},
    denoise::Edited,
    denoiser::FurtherInput,
    encodings::{Encoded, Encodings},
    latents::{Latents, NoiseSource},
};
use crate::{
    Error, Start, StartStrength,
    notice::{Notice, Notices},
    start::{Mask, Painting},
};

/// Where the loop begins.
pub(crate) struct Beginning {
    /// The latents of the first step.
    pub(super) x: Latents,
    /// What is put back after every step.
    pub(super) kept: Option<Kept>,
    /// Channels that the denoiser is given after those of the latents, `[B, C, h, w]`.
    pub(super) further: Option<Tensor<4>>,
}

/// The part of a picture that a plain denoiser is not to change.
pub(super) struct Kept {
    /// The picture's latents `[B, 4, h, w]`.
    known: Tensor<4>,
    /// The noise of the beginning, of the same shape: the picture is always noised with this.
    noise: Tensor<4>,
    /// 1 where something new is painted, else 0: `[1, 1, h, w]`.
    mask: Tensor<4>,
}

/// All that decides how a start becomes latents.
pub(super) struct Begin<'a> {
    pub(super) plan: &'a Plan,
    pub(super) autoencoder: &'a Autoencoder,
    pub(super) further: FurtherInput,
    /// Of the drawing before, and then of this one.
    pub(super) encodings: &'a mut Encodings,
    /// What the noise is of.
    pub(super) seed: (Rng, u64),
    pub(super) notices: &'a Notices,
}

/// A draw that decides among the latents of pictures.
struct Sample {
    /// Its place in the noise of the seed.
    place: (usize, [usize; 4]),
    draw: Tensor<4>,
}

impl Begin<'_> {
    /// Encodes the pictures and draws, all of it in diffusers' order: the encoder's sample of the picture, then the noise,
    /// then the encoder's sample of the masked picture.
    pub(super) fn start(mut self, start: &Start, noise: &mut NoiseSource) -> Result<Beginning, Error> {
        self.encodings.turn();
        match start {
            Start::Noise => Ok(self.noise_alone(noise)),
            Start::Picture { images, .. } => {
                let known = self.encode(resized(images, self.plan.size)?, noise)?;
                let x = self.first()?.add_noise(&Latents(known), &noise.draw())?;
                Ok(Beginning { x, kept: None, further: None })
            }
            Start::Masked { images, mask, strength } => self.masked(images, mask, *strength, noise),
            Start::Change { images, .. } => {
                let beginning = self.noise_alone(noise);
                let picture = self.unscaled(resized(images, self.plan.size)?, noise.batch())?;
                Ok(Beginning { further: Some(picture), ..beginning })
            }
        }
    }

    fn noise_alone(&self, noise: &mut NoiseSource) -> Beginning {
        Beginning { x: self.pure(&noise.draw()), kept: None, further: None }
    }

    fn masked(
        &mut self,
        images: &[Image],
        mask: &Mask,
        strength: StartStrength,
        noise: &mut NoiseSource,
    ) -> Result<Beginning, Error> {
        let painting = mask.painting(images, self.plan.size)?;
        if !painting.painted.contains(&true) {
            self.notices.give(Notice::NothingPainted { blur: mask.blur });
        }
        let plain = self.further != FurtherInput::MaskedPicture;
        let known = match plain || !strength.is_whole() {
            true => Some(self.encode(painting.images.clone(), noise)?),
            false => None,
        };
        let fresh = noise.draw();
        let x = match &known {
            Some(known) if !strength.is_whole() => {
                self.first()?.add_noise(&Latents(known.clone()), &fresh)?
            }
            _ => self.pure(&fresh),
        };
        // Drawn even where nobody reads it, as diffusers does: what schedulers draw comes after it.
        let sample = self.sample(images.len(), noise);
        let mask = self.latent_mask(&painting, noise.device());
        match known.filter(|_| plain) {
            Some(known) => {
                Ok(Beginning { x, kept: Some(Kept { known, noise: fresh.0, mask }), further: None })
            }
            None => {
                let further = self.masked_picture(painting, mask, sample, noise)?;
                Ok(Beginning { x, kept: None, further: Some(further) })
            }
        }
    }

    /// Noise as the first step takes it.
    fn pure(&self, noise: &Latents) -> Latents {
        Latents(noise.0.clone().mul_scalar(self.plan.schedule.init_noise_sigma))
    }

    /// The first step, whosever it is.
    fn first(&self) -> Result<&Step, Error> {
        Ok(self.plan.steps().next().ok_or(hypersd_schedulers::Error::NoTimesteps)?)
    }

    /// What decides among the latents of so many pictures, where anything does.
    fn sample(&self, pictures: usize, noise: &mut NoiseSource) -> Option<Sample> {
        self.autoencoder.config().has_distribution().then(|| {
            let place = noise.place();
            Sample { place, draw: noise.draw_for(pictures) }
        })
    }

    /// A draw of the pictures' latents, for the whole batch: they in turn.
    fn encode(&mut self, images: Vec<Image>, noise: &mut NoiseSource) -> Result<Tensor<4>, Error> {
        let sample = self.sample(images.len(), noise);
        self.latents(images, sample, noise.batch())
    }

    /// The likeliest latents of the pictures in the encoder's own scale, for the whole batch: what InstructPix2Pix was
    /// trained with.
    fn unscaled(&mut self, images: Vec<Image>, batch: usize) -> Result<Tensor<4>, Error> {
        let latents = self.latents(images, None, batch)?;
        Ok(self.autoencoder.config().unscale(latents))
    }

    fn latents(
        &mut self,
        images: Vec<Image>,
        sample: Option<Sample>,
        batch: usize,
    ) -> Result<Tensor<4>, Error> {
        let rounds = batch / images.len();
        let what = Encoded { images, painted: None, sample: self.identity(sample.as_ref()) };
        let Self { autoencoder, notices, .. } = self;
        let latents = self.encodings.latents(what, |what| {
            autoencoder.encode(&what.images, sample.map(|sample| sample.draw), notices)
        })?;
        Ok(latents.repeat_dim(0, rounds))
    }

    /// All that decides the numbers of a sample.
    fn identity(&self, sample: Option<&Sample>) -> Option<(Rng, u64, (usize, [usize; 4]))> {
        let (rng, seed) = self.seed;
        sample.map(|sample| (rng, seed, sample.place))
    }

    /// 1 for each latent whose first pixel is painted, as `interpolate` to the latents' size takes it, else 0:
    /// `[1, 1, h, w]`.
    fn latent_mask(&self, painting: &Painting, device: &Device) -> Tensor<4> {
        let factor = self.autoencoder.config().factor();
        let [height, width] = self.plan.size;
        let rows = painting.painted.chunks_exact(width).step_by(factor);
        let mask: Vec<f32> = rows
            .flat_map(|row| row.iter().step_by(factor))
            .map(|&painted| f32::from(u8::from(painted)))
            .collect();
        Tensor::from_data(
            TensorData::new(mask, [1, 1, height / factor, width / factor]),
            (device, DType::F32),
        )
    }

    /// The mask, and the latents of the pictures with gray where it is white: `[B, 5, h, w]`.
    fn masked_picture(
        &mut self,
        painting: Painting,
        mask: Tensor<4>,
        sample: Option<Sample>,
        noise: &NoiseSource,
    ) -> Result<Tensor<4>, Error> {
        let [height, width] = self.plan.size;
        let (device, batch) = (noise.device(), noise.batch());
        let rounds = batch / painting.images.len();
        let Painting { images, painted, .. } = painting;
        let what = Encoded { images, painted: Some(painted), sample: self.identity(sample.as_ref()) };
        let Self { autoencoder, notices, .. } = self;
        let latents = self.encodings.latents(what, |what| {
            let painted = what.painted.iter().flatten();
            let kept: Vec<f32> = painted.map(|&painted| f32::from(u8::from(!painted))).collect();
            let kept = TensorData::new(kept, [1, 1, height, width]);
            let kept = Tensor::<4>::from_data(kept, (device, DType::F32));
            let pictures = what.images.iter().map(|image| pixels(image, device) * kept.clone()).collect();
            autoencoder.encode_pixels(pictures, sample.map(|sample| sample.draw), notices)
        })?;
        Ok(Tensor::cat(vec![mask.repeat_dim(0, batch), latents.repeat_dim(0, rounds)], 1))
    }
}

impl Kept {
    /// The latents of a step with what is kept put back, as noisy as they are.
    pub(super) fn put_back(&self, edited: &Edited<'_>) -> Result<Tensor<4>, Error> {
        let known = edited.noised(self.known.clone(), self.noise.clone())?;
        let x = edited.step().x.clone();
        Ok((self.mask.clone().neg() + 1.0) * known + self.mask.clone() * x)
    }
}

/// The pictures at the size that is drawn.
fn resized(images: &[Image], [height, width]: [usize; 2]) -> Result<Vec<Image>, Error> {
    images.iter().map(|image| Ok(image.resize(width, height)?)).collect()
}
