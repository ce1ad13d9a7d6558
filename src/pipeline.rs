//! A loaded model, and what can be asked of it. How one is opened is in `open.rs`, how its LoRAs are exchanged in
//! `loras.rs`, and the account of a picture in `provenance.rs`.

use std::path::Path;

use burn::tensor::Tensor;
use hypersd_core::{Image, Products, save_safetensors};
use hypersd_lora::{Base, LoraReport, Strictness};

use crate::{
    Denoising, Error, MemoryEstimate, Prompt, PromptEmbeds, Request, TokenCount,
    draw::{Model, host_tensor},
    notice::Notices,
};

/// A Stable Diffusion model on one device, its weights in memory or [read as they are
/// needed](crate::PipelineBuilder::low_memory).
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) model: Model,
    pub(crate) products: Products,
    pub(crate) lora_bases: LoraBases,
    pub(crate) lora_reports: Vec<LoraReport>,
    pub(crate) notices: Notices,
}

/// The untouched weights that LoRAs are merged over: the denoiser's, then the text encoders'.
pub(crate) struct LoraBases {
    pub(crate) bases: Vec<Base>,
    pub(crate) strictness: Strictness,
}

impl std::fmt::Debug for LoraBases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.bases.iter().map(|base| base.prefix)).finish()
    }
}

impl Pipeline {
    /// Draws the pictures of a request: [`denoise`](Self::denoise) to the end, then [`decode`](Self::decode), then
    /// [`Start::paste`](crate::Start::paste), which all but masks with a crop leave alone.
    ///
    /// # Errors
    /// As those two.
    pub fn generate(&self, request: &Request) -> Result<Vec<Image>, Error> {
        let x = self.latents(request)?;
        request.start.paste(self.decode(x)?)
    }

    /// What the layers of the UNet and the ControlNets multiply on the CPU: what was
    /// [asked for](crate::PipelineBuilder::products), if this processor is faster with it, else f32. On a GPU it is always
    /// called f32, whatever type it computes in.
    #[must_use]
    pub fn products(&self) -> Products {
        self.products
    }

    /// The final latents of a request, `[B, 4, H/8, W/8]` in f32: what diffusers returns for
    /// `output_type="latent"`.
    ///
    /// # Errors
    /// As [`denoise`](Self::denoise).
    pub fn latents(&self, request: &Request) -> Result<Tensor<4>, Error> {
        let mut last = None;
        for step in self.denoise(request)? {
            last = Some(step?.x);
        }
        Ok(last.expect("a schedule has at least one step"))
    }

    /// Encodes the prompt and the pictures that are started from, draws the initial noise, and gives the steps one at a
    /// time. No step runs until the
    /// iterator is asked; to cancel is to stop asking.
    ///
    /// # Errors
    /// [`Error::Request`] and [`Error::Scheduler`] for a request that cannot be right; [`Error::Memory`] for one that takes more
    /// memory than there is; in [low memory](crate::PipelineBuilder::low_memory) [`Error::Weights`] for what reading meets.
    pub fn denoise(&self, request: &Request) -> Result<Denoising<'_>, Error> {
        self.model.denoise(request, &self.notices)
    }

    /// The embeddings of a prompt, for any number of requests: the pictures are those of the prompt itself, bit for bit.
    ///
    /// # Errors
    /// [`Error::Prompt`] and [`Error::Request`] for a prompt that cannot be right, [`Error::Model`] for more layers left out
    /// than there are; in [low memory](crate::PipelineBuilder::low_memory) [`Error::Weights`] for what reading meets.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<PromptEmbeds, Error> {
        self.model.encode_prompt(prompt, &self.notices)
    }

    /// What each text encoder is given of a prompt: how many tokens, what is cut off, and which words a small vocabulary
    /// does not know. Nothing of a prompt of embeddings.
    ///
    /// # Errors
    /// [`Error::Prompt`] and [`Error::Request`] for a prompt that cannot be right.
    pub fn tokens(&self, prompt: &Prompt) -> Result<Vec<TokenCount>, Error> {
        self.model.text.tokens(prompt)
    }

    /// The memory that a request takes at most, estimated without drawing anything. [`denoise`](Self::denoise) refuses one that
    /// takes more than there is.
    ///
    /// # Errors
    /// [`Error::Request`] and [`Error::Scheduler`] for a request that cannot be right.
    pub fn memory(&self, request: &Request) -> Result<MemoryEstimate, Error> {
        Ok(self.model.memory(request, &self.model.plan(request)?))
    }

    /// Makes the pictures of this request, and of every other of its size, batch, guidance and ControlNets, come as fast
    /// as they will: the text encoders, the ControlNets, the UNet and the decoder run once in the request's shapes, and
    /// what comes out is thrown away. The pictures are the same with and without it.
    ///
    /// On a GPU this compiles every kernel and tries out which are the fastest, which takes seconds to minutes; see
    /// the module `cache`, which is there with a GPU backend, for keeping that. On the CPU there is nothing to compile:
    /// weights and the kernels' working memory are touched for the first time, which is worth a part of one step. In
    /// [low memory](crate::PipelineBuilder::low_memory) all weights are read, and let go again. No notice is given.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn warmup(&self, request: &Request) -> Result<(), Error> {
        self.model.warmup(request)
    }

    /// Turns pictures of one size into latents `[B, 4, H/8, W/8]`, in f32 and in the scale that [`denoise`](Self::denoise)
    /// works in: of the distribution that the VAE's encoder gives, the likeliest. The encoder's weights are read when they
    /// are first needed. A side that is no multiple of the VAE's factor loses what is over; a TAESD rounds up instead.
    ///
    /// # Errors
    /// [`Error::Request`] for no picture and for pictures of several sizes, [`Error::Model`] for one smaller than a
    /// latent, [`Error::Weights`] for what reading meets.
    pub fn encode(&self, images: &[Image]) -> Result<Tensor<4>, Error> {
        self.model.encode(images, &self.notices)
    }

    /// Turns final latents `[B, 4, h, w]` (or a preview's [`x0`](crate::Denoised::x0)) into pictures of
    /// 8w x 8h pixels, one after the other to save memory. Where the VAE overflows in half precision the picture is
    /// decoded again in f32, with a [`Notice`](crate::Notice).
    ///
    /// # Errors
    /// [`Error::Memory`] for latents of pictures that take more memory than there is; [`Error::Image`] if the decoder's output has
    /// values that are not finite even so; in [low memory](crate::PipelineBuilder::low_memory) [`Error::Weights`] for what reading meets.
    pub fn decode(&self, latents: Tensor<4>) -> Result<Vec<Image>, Error> {
        self.model.decode(latents, &self.notices)
    }
}

/// Writes latents as safetensors, one f32 tensor `latents`. Nothing is left behind where that fails.
///
/// # Errors
/// [`Error::Weights`], naming the file.
pub fn save_latents(path: impl AsRef<Path>, latents: Tensor<4>) -> Result<(), Error> {
    Ok(save_safetensors(path, [("latents", &host_tensor(latents))])?)
}
