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
use hypersd_models::Profile;
use hypersd_schedulers::{Algorithm, PredictionType, Schedule, Step};

pub(crate) use autoencoder::{Autoencoder, AutoencoderConfig, Decoding};
pub use control::Control;
use denoise::Takeover;
pub use denoise::{Denoised, Denoising, Edited};
pub(crate) use denoiser::{Denoiser, FurtherInput, check_condition};
pub(crate) use latents::{NoiseSource, host_tensor};
pub(crate) use memo::Memo;
pub use memo::Reused;
pub use prompt::TokenCount;
pub(crate) use prompt::{PromptEncoder, TextEncoder, check_clip_skip};
pub(crate) use sampling::Sampling;
pub(crate) use start::Beginning;

use crate::{
    Error, MemoryEstimate, Prompt, PromptEmbeds, Request, Start,
    memory::{Share, Shares},
    network::Network,
    notice::{Notice, Notices},
    start::refuse,
};
use control::Controls;
use guidance::{Conditions, Guided, Scales};
use prompt::Batch;
use start::Begin;

/// The networks that draw, and what is known of how to use them.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) text: PromptEncoder,
    pub(crate) denoiser: Network<Denoiser, Merged>,
    /// What takes over from the denoiser.
    pub(crate) refiner: Option<Refiner>,
    /// What the denoiser is given beside noisy latents.
    pub(crate) further: FurtherInput,
    pub(crate) controlnets: Vec<Network<ControlNet>>,
    pub(crate) autoencoder: Autoencoder,
    pub(crate) defaults: Defaults,
    pub(crate) device: Device,
}

/// A second model, which takes over from the denoiser in the last steps.
#[derive(Debug)]
pub(crate) struct Refiner {
    pub(crate) text: PromptEncoder,
    pub(crate) denoiser: Network<Denoiser, Merged>,
    pub(crate) prediction: PredictionType,
}

/// What the prompts of a request are to the networks that predict.
#[derive(Debug, Clone)]
pub(crate) struct Prompted {
    own: Conditions,
    /// To the refiner, where there is one.
    refiner: Option<Conditions>,
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
    /// The denoiser's steps.
    pub(crate) schedule: Schedule,
    /// The refiner's after them, where there is one.
    pub(crate) refining: Option<Schedule>,
    /// The number of all of them, as a request counts them.
    pub(crate) count: usize,
    /// Height and width of the picture in pixels.
    pub(crate) size: [usize; 2],
    /// `[B, C, h, w]` of the latents.
    pub(crate) latents: [usize; 4],
}

/// All that is known of a model before its weights are read, and that decides what it can be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) defaults: &'a Defaults,
    pub(crate) autoencoder: &'a AutoencoderConfig,
    pub(crate) further: FurtherInput,
    /// What the refiner predicts, where there is one.
    pub(crate) refiner: Option<PredictionType>,
}

impl Plan {
    /// Checks a request against all that is known of a model.
    pub(crate) fn new(request: &Request, known: Known<'_>) -> Result<Self, Error> {
        let Known { defaults, autoencoder, .. } = known;
        request.check()?;
        known.check_start(request)?;
        let factor = autoencoder.factor();
        let size = size(request, defaults, factor)?;
        let [h, w] = size.map(|side| side / factor);
        let (schedule, refining, count) = match known.refiner {
            None => {
                let schedule = defaults.sampling.schedule(request)?;
                let count = schedule.count();
                (schedule, None, count)
            }
            Some(prediction) => {
                let (first, second, count) = defaults.sampling.shared_schedule(request, prediction)?;
                (first, Some(second), count)
            }
        };
        Ok(Self {
            algorithm: defaults.sampling.algorithm(request),
            count,
            schedule,
            refining,
            size,
            latents: [request.batch, autoencoder.latent_channels(), h, w],
        })
    }

    /// All steps.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.schedule.steps.iter().chain(self.refining.iter().flat_map(|schedule| &schedule.steps))
    }
}

impl Known<'_> {
    /// Refuses a start that the denoiser or the refiner does not take, and a refinement without a refiner.
    fn check_start(&self, Request { start, refine, .. }: &Request) -> Result<(), Error> {
        self.further.check(start)?;
        let family = self.profile.family;
        if self.profile.refines && *start == Start::Noise {
            let expected = "a picture: it was trained on what another model has nearly finished";
            return Err(refuse("start", expected, format_args!("noise, with {family} as the model")));
        }
        if refine.is_some() && self.refiner.is_none() && !self.profile.refines {
            return Err(refuse("refine", "a pipeline with a refiner", format_args!("{family} alone")));
        }
        if self.refiner.is_some() && matches!(start, Start::Change { .. }) {
            return Err(refuse("refiner", "none beside a picture to change", "one"));
        }
        Ok(())
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

impl Refiner {
    /// The conditions of a request's prompts. What there is to say of these, the base's encoders have said.
    fn conditions_of(&self, request: &Request, batch: Batch) -> Result<Conditions, Error> {
        let prompt = request.prompt.for_refiner()?;
        let negative = request.negative.as_ref().map(Prompt::for_refiner).transpose()?;
        let request = Request { prompt, negative, ..request.clone() };
        self.text.conditions_of(&request, batch, &Notices::default())
    }

    fn encode(&self, prompt: &Prompt) -> Result<PromptEmbeds, Error> {
        let [embeds] = self.text.encode([&prompt.for_refiner()?], &Notices::default())?;
        Ok(embeds)
    }
}

impl Model {
    /// Reads the weights of all networks, to stay in memory.
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        self.denoiser.keep()?;
        self.text.keep()?;
        if let Some(refiner) = &mut self.refiner {
            refiner.denoiser.keep()?;
            refiner.text.keep()?;
        }
        self.controlnets.iter_mut().try_for_each(Network::keep)?;
        self.autoencoder.keep()
    }

    pub(crate) fn plan(&self, request: &Request) -> Result<Plan, Error> {
        let known = Known {
            profile: self.text.profile,
            defaults: &self.defaults,
            autoencoder: self.autoencoder.config(),
            further: self.further,
            refiner: self.refiner.as_ref().map(|refiner| refiner.prediction),
        };
        Plan::new(request, known)
    }

    /// The networks as far as memory goes.
    fn shares(&self) -> Shares<'_> {
        let controlnets = self.controlnets.iter();
        let ([encoder, decoder], autoencoder_stored) = self.autoencoder.sizes();
        let refiner = self.refiner.as_ref();
        let text = self.text.encoders.iter().chain(refiner.into_iter().flat_map(|it| &it.text.encoders));
        let denoisers = [&self.denoiser].into_iter().chain(refiner.map(|refiner| &refiner.denoiser));
        let unets = denoisers.map(|net| {
            let Denoiser::UNet(unet) = net.blank();
            Share { config: unet.config(), weights: net.size() }
        });
        Shares {
            text: text.map(|encoder| encoder.network.size()).collect(),
            unets: unets.collect(),
            controlnets: controlnets
                .map(|net| Share { config: net.blank().config(), weights: net.size() })
                .collect(),
            autoencoder: self.autoencoder.config(),
            encoder,
            decoder,
            stored: [self.denoiser.dtype(), autoencoder_stored],
            device: &self.device,
            tiled: self.autoencoder.is_tiled(),
            low_memory: !self.denoiser.stays(),
            loaded: true,
        }
    }

    /// The memory that a request takes.
    pub(crate) fn memory(&self, request: &Request, plan: &Plan) -> MemoryEstimate {
        self.shares().estimate(request, plan)
    }

    /// Encodes the prompt and what drawing starts from, and draws the initial noise; each step is taken when the iterator
    /// is asked for it.
    pub(crate) fn denoise(&self, request: &Request, notices: &Notices) -> Result<Denoising<'_>, Error> {
        let memo = &mut Memo::default();
        let plan = self.plan(request)?;
        self.memory(request, &plan).check()?;
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
        self.defaults.sampling.tell(request, notices);
    }

    /// The first part of a drawing: the prompts.
    pub(crate) fn conditions(
        &self,
        request: &Request,
        plan: &Plan,
        notices: &Notices,
        memo: &mut Memo,
    ) -> Result<Prompted, Error> {
        let batch = Batch { pictures: request.batch, size: plan.size };
        let refined = |refiner: &Refiner| refiner.conditions_of(request, batch);
        let told = self.denoiser.blank().is_told_guidance().then_some(request.guidance);
        memo.prompted(request, (batch, told), || {
            Ok(Prompted {
                own: self.own_conditions(request, batch, notices)?,
                refiner: self.refiner.as_ref().map(refined).transpose()?,
            })
        })
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
            plan,
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
        prompted: Prompted,
        (beginning, noise): (Beginning, NoiseSource),
        memo: &mut Memo,
    ) -> Result<Denoising<'_>, Error> {
        let denoiser = self.denoiser.get()?; // only now: in low memory the encoders are gone again
        let scales = Scales::of(request);
        let takeover = self.refiner.as_ref().zip(prompted.refiner).zip(plan.refining);
        let takeover = takeover.map(|((refiner, conditions), schedule)| Takeover {
            denoiser: &refiner.denoiser,
            conditions,
            scales,
            schedule,
        });
        let guided = Guided::new(denoiser, prompted.own, scales, beginning.further.clone())?;
        let controls = Controls::new(&self.controlnets, request, plan.size, &mut memo.hints)?;
        Ok(Denoising::new(guided, controls, plan.schedule, takeover, beginning, noise))
    }

    /// The conditions of the denoiser. One that is told the guidance scale has that of the prompt alone.
    fn own_conditions(
        &self,
        request: &Request,
        batch: Batch,
        notices: &Notices,
    ) -> Result<Conditions, Error> {
        if !self.denoiser.blank().is_told_guidance() {
            return self.text.conditions_of(request, batch, notices);
        }
        let alone = Request { prompt: request.prompt.clone(), guidance: 0.0, ..Request::default() };
        let Conditions { positive, .. } = self.text.conditions_of(&alone, batch, notices)?;
        Ok(Conditions { positive: positive.with_guidance(request.guidance as f32), negative: None })
    }

    pub(crate) fn encode_prompt(&self, prompt: &Prompt, notices: &Notices) -> Result<PromptEmbeds, Error> {
        let [embeds] = self.text.encode([prompt], notices)?;
        match &self.refiner {
            Some(refiner) => Ok(embeds.with_refiner(refiner.encode(prompt)?)),
            None => Ok(embeds),
        }
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
        let [_, _, h, w] = latents.dims();
        self.shares().estimate_decoding([h, w]).check()?;
        self.autoencoder.decode(latents, notices)
    }
}
