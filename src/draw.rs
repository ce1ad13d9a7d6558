//! From a request to pictures, in the order in which things happen: a [`Plan`] of what is to be done, the prompt's
//! [condition](prompt), what [ControlNets](control) are shown, the [loop](denoise) of [guided](guidance) predictions by
//! the [denoiser], and pixels by the [autoencoder].

mod autoencoder;
mod control;
mod denoise;
mod denoiser;
mod encodings;
mod guidance;
mod latents;
mod memo;
mod prompt;
mod sampling;
mod start;

use burn::tensor::{Device, Tensor};
use hypersd_controlnet::ControlNet;
use hypersd_core::Image;
use hypersd_lora::Merged;
use hypersd_schedulers::{Algorithm, Schedule};

pub(crate) use autoencoder::{Autoencoder, AutoencoderConfig, Decoding};
pub use control::Control;
pub use denoise::{Denoised, Denoising, Edited};
pub(crate) use denoiser::{Denoiser, FurtherInput, check_condition};
pub(crate) use guidance::Conditions;
pub(crate) use latents::{NoiseSource, host_tensor};
pub(crate) use memo::Memo;
pub use memo::Reused;
pub use prompt::TokenCount;
pub(crate) use prompt::{PromptEncoder, TextEncoder, check_clip_skip};
pub(crate) use sampling::Sampling;
pub(crate) use start::Beginning;

use crate::{
    Error, Prompt, PromptEmbeds, Request,
    network::Network,
    notice::{Notice, Notices},
};
use control::Controls;
use guidance::{Guided, Scales};
use prompt::Batch;
use start::Begin;

/// The networks that draw, and what is known of how to use them.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) text: PromptEncoder,
    pub(crate) denoiser: Network<Denoiser, Merged>,
    /// What the denoiser is given beside noisy latents.
    pub(crate) further: FurtherInput,
    pub(crate) controlnets: Vec<Network<ControlNet>>,
    pub(crate) autoencoder: Autoencoder,
    pub(crate) defaults: Defaults,
    pub(crate) device: Device,
}

/// The settings that a request leaves to the model.
#[derive(Debug)]
pub(crate) struct Defaults {
    pub(crate) sampling: Sampling,
    /// Height and width of the latents of a picture of the model's own size.
    pub(crate) native_cells: [usize; 2],
}

/// A request against a model: everything is decided, nothing heavy is done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    pub(crate) schedule: Schedule,
    /// Height and width of the picture in pixels.
    pub(crate) size: [usize; 2],
    /// `[B, C, h, w]` of the latents.
    pub(crate) latents: [usize; 4],
}

impl Plan {
    /// Checks a request against all that is known of a model before its weights are read.
    pub(crate) fn new(
        request: &Request,
        defaults: &Defaults,
        autoencoder: &AutoencoderConfig,
        further: FurtherInput,
    ) -> Result<Self, Error> {
        request.check()?;
        further.check(&request.start)?;
        let factor = autoencoder.factor();
        let size = size(request, defaults, factor)?;
        let [h, w] = size.map(|side| side / factor);
        Ok(Self {
            algorithm: defaults.sampling.algorithm(request),
            schedule: defaults.sampling.schedule(request)?,
            size,
            latents: [request.batch, autoencoder.latent_channels(), h, w],
        })
    }
}

/// Height and width in pixels: as asked for, else the start picture's, else the first control image's, else the model's
/// own.
fn size(request: &Request, defaults: &Defaults, factor: usize) -> Result<[usize; 2], Error> {
    let native = defaults.native_cells.map(|side| side.saturating_mul(factor));
    let [height, width] = match request.start.size(factor)? {
        Some(size) => size,
        None => control::size_of(&request.controls, factor)?.unwrap_or(native),
    };
    let size = [request.height.unwrap_or(height), request.width.unwrap_or(width)];
    for (option, px) in ["height", "width"].into_iter().zip(size) {
        if px == 0 || px > Image::MAX_SIDE || px % factor != 0 {
            let expected = format!("a multiple of {factor} from {factor} to {} pixels", Image::MAX_SIDE);
            return Err(Error::Request { option, expected, found: px.to_string() });
        }
    }
    Ok(size)
}

impl Model {
    /// Reads the weights of all networks, to stay in memory.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.denoiser.keep()?;
        self.text.encoders.iter_mut().try_for_each(|encoder| encoder.network.keep())?;
        self.controlnets.iter_mut().try_for_each(Network::keep)?;
        self.autoencoder.keep()
    }

    pub(crate) fn plan(&self, request: &Request) -> Result<Plan, Error> {
        Plan::new(request, &self.defaults, self.autoencoder.config(), self.further)
    }

    /// Encodes the prompt and what drawing starts from, and draws the initial noise; each step is taken when the iterator
    /// is asked for it.
    pub(crate) fn denoise(&self, request: &Request, notices: &Notices) -> Result<Denoising<'_>, Error> {
        let memo = &mut Memo::default();
        let plan = self.plan(request)?;
        self.tell(request, &plan, notices);
        let conditions = self.conditions(request, &plan, notices, memo)?;
        let beginning = self.beginning(request, &plan, notices, memo)?;
        self.denoising(request, plan, conditions, beginning, memo)
    }

    /// Says what is done otherwise than the model's files have it.
    pub(crate) fn tell(&self, request: &Request, plan: &Plan, notices: &Notices) {
        if request.scheduler.is_none() && !self.defaults.sampling.has_own_algorithm() {
            let class = self.defaults.sampling.class_name().map(String::from);
            notices.give(Notice::SchedulerReplaced { class, used: plan.algorithm });
        }
    }

    /// The first part of a drawing: the prompts.
    pub(crate) fn conditions(
        &self,
        request: &Request,
        plan: &Plan,
        notices: &Notices,
        memo: &mut Memo,
    ) -> Result<Conditions, Error> {
        let batch = Batch { pictures: request.batch, size: plan.size };
        memo.conditions(request, batch, || self.text.conditions_of(request, batch, notices))
    }

    /// The second: what is started from, and the noise.
    pub(crate) fn beginning(
        &self,
        request: &Request,
        plan: &Plan,
        notices: &Notices,
        memo: &mut Memo,
    ) -> Result<(Beginning, NoiseSource), Error> {
        let mut noise = memo.noise(request, plan.latents, &self.device);
        let begin = Begin {
            schedule: &plan.schedule,
            size: plan.size,
            autoencoder: &self.autoencoder,
            further: self.further,
            encodings: &mut memo.encodings,
            seed: (request.rng, request.seed),
            notices,
        };
        Ok((begin.start(&request.start, &mut noise)?, noise))
    }

    /// The third: what the ControlNets are shown. The steps come after it.
    pub(crate) fn denoising(
        &self,
        request: &Request,
        plan: Plan,
        conditions: Conditions,
        (beginning, noise): (Beginning, NoiseSource),
        memo: &mut Memo,
    ) -> Result<Denoising<'_>, Error> {
        let denoiser = self.denoiser.get()?; // only now: in low memory the encoders are gone again
        let scales = Scales::of(request);
        let guided = Guided::new(denoiser, conditions, scales, beginning.further.clone())?;
        let controls = Controls::new(&self.controlnets, request, plan.size, &mut memo.hints)?;
        Ok(Denoising::new(guided, controls, plan.schedule, beginning, noise))
    }

    pub(crate) fn encode_prompt(&self, prompt: &Prompt, notices: &Notices) -> Result<PromptEmbeds, Error> {
        let [embeds] = self.text.encode([prompt], notices)?;
        Ok(embeds)
    }

    /// Runs every network once in the shapes of a request; the notices are nobody's.
    pub(crate) fn warmup(&self, request: &Request) -> Result<(), Error> {
        let notices = Notices::default();
        let x = self.denoise(request, &notices)?.one_of_each()?;
        // Pictures are decoded one by one, and reading one waits for the device.
        self.autoencoder.decode(x.narrow(0, 0, 1), &notices)?;
        Ok(())
    }

    pub(crate) fn encode(&self, images: &[Image], notices: &Notices) -> Result<Tensor<4>, Error> {
        let size = |image: &Image| format!("{}x{}", image.width(), image.height());
        let Some(first) = images.first().map(size) else {
            return Err(Error::Request {
                option: "images",
                expected: "at least one".into(),
                found: "none".into(),
            });
        };
        if let Some(found) = images.iter().map(size).find(|size| *size != first) {
            return Err(Error::Request {
                option: "images",
                expected: format!("all of {first} pixels"),
                found,
            });
        }
        self.autoencoder.encode(images, None, notices)
    }

    pub(crate) fn decode(&self, latents: Tensor<4>, notices: &Notices) -> Result<Vec<Image>, Error> {
        self.autoencoder.decode(latents, notices)
    }
}
