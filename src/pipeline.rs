//! A loaded model, and the way from a request to pictures.

use std::path::Path;

use burn::tensor::{Device, FloatDType, Tensor};
use hypersd_controlnet::ControlNet;
use hypersd_core::{HostTensor, Image, Location, Noise, save_safetensors};
use hypersd_lora::{LoraReport, Merged};
use hypersd_models::unet::UNet;

use crate::{
    Error, PipelineBuilder, Request,
    control::{self, Controls},
    decoder::Decoder,
    denoise::{Denoising, NoiseSource},
    guidance::Guided,
    loras::LoraBases,
    network::Network,
    notice::{Notice, Notices},
    prompt::{Batch, PromptEncoder},
    request::VAE_SCALE,
    sampling::Sampling,
};

/// A Stable Diffusion model on one device, its weights in memory or [read as they are
/// needed](PipelineBuilder::low_memory).
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) text: PromptEncoder,
    pub(crate) unet: Network<UNet, Merged>,
    pub(crate) controlnets: Vec<Network<ControlNet>>,
    pub(crate) decoder: Decoder,
    pub(crate) sampling: Sampling,
    /// Height and width in pixels that a request without them gets.
    pub(crate) native_size: [usize; 2],
    pub(crate) lora_bases: LoraBases,
    pub(crate) lora_reports: Vec<LoraReport>,
    pub(crate) notices: Notices,
    pub(crate) device: Device,
}

impl Pipeline {
    /// Opens a model: a folder in diffusers' layout, a checkpoint in one file, or, with the feature `hub`, a repository
    /// on the Hugging Face hub. Folder or file may be [embedded](crate::Embedded) in the program. Configurations are
    /// read, weights are not.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be read, [`Error::Unsupported`] for a model that hypersd
    /// does not run.
    pub fn open(model: impl Into<Location>) -> Result<PipelineBuilder, Error> {
        PipelineBuilder::open(model.into())
    }

    /// Reads the weights of all networks, to stay in memory.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.unet.keep()?;
        self.text.encoders.iter_mut().try_for_each(|encoder| encoder.network.keep())?;
        self.controlnets.iter_mut().try_for_each(Network::keep)?;
        self.decoder.keep()
    }

    /// Draws the pictures of a request: [`denoise`](Self::denoise) to the end, then [`decode`](Self::decode).
    ///
    /// # Errors
    /// As those two.
    pub fn generate(&self, request: &Request) -> Result<Vec<Image>, Error> {
        let x = self.latents(request)?;
        self.decode(x)
    }

    /// The final latents of a request, `[B, 4, H/8, W/8]` in f32: what diffusers returns for
    /// `output_type="latent"`.
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise).
    pub fn latents(&self, request: &Request) -> Result<Tensor<4>, Error> {
        let last = self.denoise(request)?.last().expect("a schedule has at least one step");
        Ok(last?.x)
    }

    /// Encodes the prompt, draws the initial noise, and gives the steps one at a time. No step runs until the
    /// iterator is asked; to cancel is to stop asking.
    ///
    /// # Errors
    /// [`Error::Request`] and [`Error::Scheduler`] for a request that cannot be right; in
    /// [low memory](PipelineBuilder::low_memory) [`Error::Weights`] for what reading meets.
    pub fn denoise(&self, request: &Request) -> Result<Denoising<'_>, Error> {
        self.start(request, &self.notices)
    }

    /// Makes the pictures of this request, and of every other of its size, batch, guidance and ControlNets, come as fast
    /// as they will: the text encoders, the ControlNets, the UNet and the decoder run once in the request's shapes, and
    /// what comes out is thrown away. The pictures are the same with and without it.
    ///
    /// On a GPU this compiles every kernel and tries out which are the fastest, which takes seconds to minutes; see
    /// the module `cache`, which is there with a GPU backend, for keeping that. On the CPU there is nothing to compile:
    /// weights and the kernels' working memory are touched for the first time, which is worth a part of one step. In
    /// [low memory](PipelineBuilder::low_memory) all weights are read, and let go again. No notice is given.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn warmup(&self, request: &Request) -> Result<(), Error> {
        let notices = Notices::default();
        let x = self.start(request, &notices)?.one_of_each()?;
        // Pictures are decoded one by one, and reading one waits for the device.
        self.decoder.decode(x.narrow(0, 0, 1), &notices)?;
        Ok(())
    }

    fn start(&self, request: &Request, notices: &Notices) -> Result<Denoising<'_>, Error> {
        request.check()?;
        let schedule = self.sampling.schedule(request)?;
        if request.scheduler.is_none() && !self.sampling.has_own_algorithm() {
            let class = self.sampling.class_name().map(String::from);
            notices.give(Notice::SchedulerReplaced { class, used: self.sampling.default_algorithm() });
        }
        let size = self.size(request)?;
        let guided = self.guided(request, size, notices)?;
        let unet = self.unet.get()?; // only now: in low memory the text encoders are gone again
        let controls = Controls::new(&self.controlnets, &request.controls, size)?;
        let [h, w] = size.map(|side| side / VAE_SCALE);
        let shape = [request.batch, unet.config().in_channels, h, w];
        let noise = NoiseSource::new(Noise::new(request.rng, request.seed), shape, self.device.clone());
        Ok(Denoising::new(unet, guided, controls, schedule, noise))
    }

    /// Turns final latents `[B, 4, h, w]` (or a preview's [`x0`](crate::Denoised::x0)) into pictures of
    /// 8w x 8h pixels, one after the other to save memory. Where the VAE overflows in half precision the picture is
    /// decoded again in f32, with a [`Notice`].
    ///
    /// # Errors
    /// [`Error::Weights`] if the decoder's output has values that are not finite even so, and in
    /// [low memory](PipelineBuilder::low_memory) for what reading meets.
    pub fn decode(&self, latents: Tensor<4>) -> Result<Vec<Image>, Error> {
        self.decoder.decode(latents, &self.notices)
    }

    /// Height and width of the picture in pixels: as asked for, else the first control image's, else the model's own.
    pub(crate) fn size(&self, request: &Request) -> Result<[usize; 2], Error> {
        let [height, width] = control::size_of(&request.controls)?.unwrap_or(self.native_size);
        Ok([request.height.unwrap_or(height), request.width.unwrap_or(width)])
    }

    fn guided(&self, request: &Request, size: [usize; 2], notices: &Notices) -> Result<Guided, Error> {
        let Request { prompt, negative, batch, guidance, .. } = request;
        let batch = Batch { pictures: *batch, size };
        if !Guided::wanted(*guidance) {
            return Ok(Guided::none(self.text.positive(prompt, batch, notices)?));
        }
        let [negative, positive] = self.text.both(negative.as_deref(), prompt, batch, notices)?;
        Guided::scaled(negative, positive, *guidance)
    }
}

/// Writes latents as safetensors, one f32 tensor `latents`. Nothing is left behind where that fails.
///
/// # Errors
/// [`Error::Weights`], naming the file.
pub fn save_latents(path: impl AsRef<Path>, latents: Tensor<4>) -> Result<(), Error> {
    Ok(save_safetensors(path, [("latents", &host_tensor(latents))])?)
}

/// Reads a tensor back, in f32.
pub(crate) fn host_tensor<const D: usize>(x: Tensor<D>) -> HostTensor<'static> {
    let shape = x.dims();
    let data = x.cast(FloatDType::F32).into_data().try_into_vec_as().expect("a tensor that was cast to f32");
    HostTensor::from_f32(shape, data)
}
