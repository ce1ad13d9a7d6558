//! From files to a pipeline: what is opened, what replaces what, and in which order it is loaded.

use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use hypersd_controlnet::{ControlNet, ControlNetConfig};
use hypersd_core::{Component, Family, LoadOptions, Location, ModelFolder, Renamed, Variant};
use hypersd_lora::{Base, Lora, Strictness, Weights as LoraWeights, merge};
use hypersd_models::{
    Profile, SingleFile,
    clip::{ClipTextConfig, Tokenizer, canonical_names},
    unet::{UNet, UNetConfig},
    vae::VaeConfig,
    weight_order,
};

use crate::{
    Error, Notice, Pipeline, Request, checkpoint,
    decoder::{Decoder, DecoderConfig},
    device, folder,
    locate::locate,
    loras::{self, LoraBases},
    network::Network,
    notice::Notices,
    part::{Part, Weights},
    prompt::{PromptEncoder, TextEncoder},
    provenance::{Hashing, WeightFiles},
    sampling::Sampling,
};

/// Everything a pipeline is made of, opened but not loaded.
#[derive(Debug)]
pub(crate) struct Parts {
    /// What the model has in common with all of its family.
    pub(crate) profile: &'static Profile,
    /// The family's text encoders, in their order.
    pub(crate) text: Vec<(Tokenizer, Part<ClipTextConfig>)>,
    pub(crate) unet: Part<UNetConfig>,
    pub(crate) vae: Part<DecoderConfig>,
    pub(crate) sampling: Sampling,
    /// Height and width in pixels of a request without them.
    pub(crate) native_size: [usize; 2],
    /// `force_zeros_for_empty_prompt`
    pub(crate) zero_negative: bool,
}

/// A model that is opened but not loaded: configurations are read, weights are not.
///
/// Made by [`Pipeline::open`]; each method takes it and gives it back, so that calls chain.
#[derive(Debug)]
pub struct PipelineBuilder {
    parts: Parts,
    files: WeightFiles,
    controlnets: Vec<Part<ControlNetConfig>>,
    loras: Vec<Lora<LoraWeights>>,
    strictness: Strictness,
    variant: Variant,
    dtype: FloatDType,
    tiled_vae: bool,
    low_memory: bool,
    notices: Notices,
}

impl PipelineBuilder {
    pub(crate) fn open(model: Location) -> Result<Self, Error> {
        let model = locate(model)?;
        let parts = match model.is_file() {
            true => checkpoint::open(&model)?,
            false => folder::open(&ModelFolder::open(&model)?)?,
        };
        Ok(Self {
            parts,
            files: WeightFiles::of_model(model),
            controlnets: Vec::new(),
            loras: Vec::new(),
            strictness: Strictness::Strict,
            variant: Variant::Default,
            dtype: FloatDType::F32,
            tiled_vae: false,
            low_memory: false,
            notices: Notices::default(),
        })
    }

    /// Replaces the UNet: a component folder, or a file in any dialect. A file without a `config.json` beside it says
    /// by its shapes what it is; what they do not say is as in the model's own. If it says that it predicts velocity
    /// (`v_pred`, `ztsnr`), it is sampled so.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or has no UNet in it.
    pub fn unet(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = &locate(location)?;
        let Parts { unet: own, sampling, .. } = &mut self.parts;
        *own = Part::open(location, folder::unet_config, || {
            let file = SingleFile::open_for(location, Some(&own.config))?;
            sampling.heed(&file);
            let unet = file.unet.ok_or_else(|| lacks(location, "UNet"))?;
            Ok(Part { config: unet.config, weights: Weights::Source(unet.weights) })
        })?;
        self.files.unet = Some(location.clone());
        Ok(self)
    }

    /// Replaces the VAE, with a KL VAE or a TAESD: a component folder, or a file in any dialect. A file without a
    /// `config.json` beside it says by its names and shapes what it is; its scale is that of the model's family.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or has no VAE in it.
    pub fn vae(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = &locate(location)?;
        let published = (self.parts.profile.vae)();
        self.parts.vae = Part::open(location, DecoderConfig::of, || {
            let file = SingleFile::open(location)?;
            if let Some(tiny) = file.tiny_vae {
                return Ok(Part {
                    config: DecoderConfig::Tiny(tiny.config),
                    weights: Weights::Source(tiny.weights),
                });
            }
            let vae = file.vae.ok_or_else(|| lacks(location, "VAE"))?;
            let VaeConfig { scaling_factor, sample_size, .. } = published;
            let config = DecoderConfig::Kl(VaeConfig { scaling_factor, sample_size, ..vae.config });
            Ok(Part { config, weights: Weights::Source(vae.weights) })
        })?;
        self.files.vae = Some(location.clone());
        Ok(self)
    }

    /// Adds a ControlNet: a component folder, or a file in any dialect. A request then has one
    /// [`Control`](crate::Control) for each, in the order they were added.
    ///
    /// # Errors
    /// [`Error::Weights`], [`Error::Config`] and [`Error::Model`] for what cannot be opened, or is no ControlNet.
    pub fn controlnet(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = &locate(location)?;
        self.controlnets.push(Part::open(location, controlnet_config, || {
            let found =
                SingleFile::open(location)?.controlnet.ok_or_else(|| lacks(location, "ControlNet"))?;
            let config = ControlNetConfig::from_part(&found)?;
            Ok(Part { config, weights: Weights::Source(found.weights) })
        })?);
        self.files.controlnets.push(location.clone());
        Ok(self)
    }

    /// Adds a LoRA file, to be merged with this weight while the model is loaded; after those added before. The weight
    /// is a number, or [`LoraWeights`] for one in each network.
    ///
    /// # Errors
    /// [`Error::Lora`] for a file that is no LoRA that hypersd reads.
    pub fn lora(
        mut self,
        location: impl Into<Location>,
        weight: impl Into<LoraWeights>,
    ) -> Result<Self, Error> {
        let location = locate(location)?;
        let weight = weight.into();
        self.loras.push(loras::open(&location, weight)?);
        self.files.loras.push((location, weight.unet));
        Ok(self)
    }

    /// Lets a LoRA be merged of which some modules fit nothing. Without this it is an error, because it nearly
    /// always means that the LoRA is for another model.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { strictness: Strictness::Lenient, ..self }
    }

    /// Which of a folder's weight files to read, `fp16` for instance; without this the plain ones.
    #[must_use]
    pub fn variant(self, name: impl Into<String>) -> Self {
        Self { variant: Variant::Named(name.into()), ..self }
    }

    /// The type that weights are stored in, whatever the files hold; f32 without this.
    ///
    /// A GPU computes in the same type. The CPU computes in f32 whatever this says: there f16 and bf16 halve the memory
    /// of the weights and lose what rounding them loses, nothing more. A LoRA is merged in f32 and the sum rounded once.
    #[must_use]
    pub fn dtype(self, dtype: FloatDType) -> Self {
        Self { dtype, ..self }
    }

    /// Decodes pictures larger than the VAE was trained on in overlapping tiles: less memory, and small differences
    /// where tiles meet (diffusers' `enable_vae_tiling`). A TAESD needs little memory and is not tiled.
    #[must_use]
    pub fn tiled_vae(self) -> Self {
        Self { tiled_vae: true, ..self }
    }

    /// Keeps no weights in memory: each network is read when it is needed and let go after, the text encoders after the
    /// prompt, the UNet and the ControlNets after the last step, the VAE after the pictures. Memory is then that of the
    /// largest of them, and drawing takes the time of reading them longer, for every request. The pictures are the same
    /// to the byte.
    ///
    /// The model's files must stay where they are. That they have all that the networks need is checked by
    /// [`load`](Self::load); what only reading finds is found when a picture is drawn.
    #[must_use]
    pub fn low_memory(self) -> Self {
        Self { low_memory: true, ..self }
    }

    /// Hears of what is no error but should be known: see [`Notice`]. It may be called from the thread that draws.
    #[must_use]
    pub fn on_notice(self, sink: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self { notices: Notices::new(sink), ..self }
    }

    /// The family that the model belongs to, by its UNet.
    #[must_use]
    pub fn family(&self) -> Family {
        self.parts.unet.config.family()
    }

    /// A request with the scheduler and the spacing that it leaves to the model's configuration written out, for
    /// [`Recipe::contradictions`](crate::Recipe::contradictions).
    #[must_use]
    pub fn settled(&self, request: &Request) -> Request {
        self.parts.sampling.settled(request)
    }

    /// Starts to hash the weight files, on threads of their own, for [`Pipeline::provenance`].
    ///
    /// # Errors
    /// [`Error::Weights`] where a file of the model cannot be found.
    pub fn hash_weights(&self) -> Result<Hashing, Error> {
        self.files.hash(&self.variant)
    }

    /// Checks a request against the model's configuration, before the weights are loaded.
    ///
    /// # Errors
    /// What [`Pipeline::denoise`] would refuse.
    pub fn check(&self, request: &Request) -> Result<(), Error> {
        request.check()?;
        self.parts.sampling.schedule(request).map(drop)
    }

    /// Loads everything, with the LoRAs merged, onto a device; in [low memory](Self::low_memory), checks everything.
    ///
    /// # Errors
    /// [`Error::Device`] for a device that is not there; [`Error::Weights`] where files and configuration do not fit
    /// each other, naming every tensor that does not; [`Error::Lora`] for a LoRA that does not fit the model.
    pub fn load(self, device: &Device) -> Result<Pipeline, Error> {
        device::check(device)?;
        let (dtype, order) = (self.dtype, weight_order(device));
        let options = LoadOptions { device: device.clone(), dtype, order, ignore: &[] };
        // Everything is opened and checked before anything large is read.
        let bases = self.bases()?;
        let merged = merge(&bases, &self.loras, self.strictness)?;
        let vae_source = self.parts.vae.weights.open(&self.variant)?;
        let mut controlnet_sources = Vec::new();
        for part in &self.controlnets {
            controlnet_sources.push(part.weights.open(&self.variant)?);
        }

        let Parts { profile, text, unet, vae, sampling, native_size, zero_negative } = self.parts;
        let mut sources = merged.sources.into_iter();
        let mut next_source = || sources.next().expect("one source for each base");
        let unet = Network::new(UNet::new(&unet.config, device)?, next_source(), options.clone())?;
        let mut encoders = Vec::new();
        for (traits, (tokenizer, part)) in profile.text_encoders.iter().zip(text) {
            encoders.push(TextEncoder::new(traits, tokenizer, &part.config, next_source(), &options)?);
        }
        let mut controlnets = Vec::new();
        for (part, source) in self.controlnets.iter().zip(controlnet_sources) {
            let controlnet = ControlNet::new(&part.config, device)?;
            controlnet.check_fits(unet.blank())?;
            controlnets.push(Network::new(controlnet, source, options.clone())?);
        }
        let mut pipeline = Pipeline {
            text: PromptEncoder { profile, encoders, zero_negative },
            unet,
            controlnets,
            decoder: Decoder::new(&vae.config, vae_source, &options, profile.upcast_vae, self.tiled_vae)?,
            sampling,
            native_size,
            lora_bases: LoraBases { bases, strictness: self.strictness },
            lora_reports: merged.reports,
            notices: self.notices,
            device: device.clone(),
        };
        if !self.low_memory {
            pipeline.keep()?;
        }
        Ok(pipeline)
    }

    /// The networks that a LoRA can change, with their untouched weights: the UNet, then the text encoders.
    fn bases(&self) -> Result<Vec<Base>, Error> {
        let mut bases =
            vec![Base { prefix: "lora_unet_", source: self.parts.unet.weights.open(&self.variant)? }];
        for (traits, (_, part)) in self.parts.profile.text_encoders.iter().zip(&self.parts.text) {
            let prefix = traits.lora_prefix;
            let source = part.weights.open(&self.variant)?;
            let renames = canonical_names(source.names());
            bases.push(Base { prefix, source: Arc::new(Renamed::new(source, renames)?) });
        }
        Ok(bases)
    }
}

/// A ControlNet's configuration, checked.
fn controlnet_config(component: &Component) -> Result<ControlNetConfig, Error> {
    let config: ControlNetConfig = component.config()?;
    config.validate().map_err(Error::config(component.location()))?;
    Ok(config)
}

fn lacks(location: &Location, network: &str) -> Error {
    Error::Unsupported {
        origin: location.to_string(),
        found: format!("no {network} is in the file"),
        instead: format!("give a file with a {network}"),
    }
}
