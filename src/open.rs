//! From files to a pipeline: what is opened, what replaces what, and in which order it is loaded.

mod checkpoint;
mod folder;
mod locate;
mod memory;
mod numbers;
mod parts;

use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use hypersd_controlnet::{ControlNet, ControlNetConfig};
use hypersd_core::{Component, Family, LoadOptions, Location, Products, SharedSource, Variant};
use hypersd_lora::{Base, Lora, LoraFile, LoraReport, Merged, Strictness, Weights as LoraWeights, merge};
use hypersd_models::{SingleFile, clip::layers};

use crate::{
    Error, Notice, Pipeline, Request, device,
    draw::{Autoencoder, AutoencoderConfig, FurtherInput, Known, Model, Plan, Refiner},
    embeddings::Embedding,
    network::{Leftovers, Network},
    notice::Notices,
    pipeline::LoraBases,
    provenance::{Hashing, WeightFiles},
    start::refuse,
};

pub(crate) use locate::locate;
use numbers::Numbers;
use parts::{Part, Parts, Weights};

/// A model that is opened but not loaded: configurations are read, weights are not.
///
/// Made by [`Pipeline::open`]; each method takes it and gives it back, so that calls chain.
#[derive(Debug)]
pub struct PipelineBuilder {
    parts: Parts,
    refiner: Option<Parts>,
    files: WeightFiles,
    controlnets: Vec<Part<ControlNetConfig>>,
    loras: Vec<Lora<LoraWeights>>,
    embeddings: Vec<Embedding>,
    strictness: Strictness,
    variant: Variant,
    dtype: FloatDType,
    products: Option<Products>,
    tiled_vae: bool,
    low_memory: bool,
    notices: Notices,
    /// What opening found out, to be told when the model is loaded.
    pending: Vec<Notice>,
}

impl Pipeline {
    /// Opens a model: a folder in diffusers' layout, a checkpoint in one file, or, with the feature `hub`, a repository
    /// on the Hugging Face hub. Folder or file may be in a [tree](crate::FileTree) of bytes. Configurations are
    /// read, weights are not.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be read, [`Error::Unsupported`] for a model that hypersd
    /// does not run.
    pub fn open(model: impl Into<Location>) -> Result<PipelineBuilder, Error> {
        PipelineBuilder::open(model.into())
    }
}

impl PipelineBuilder {
    pub(crate) fn open(model: Location) -> Result<Self, Error> {
        let model = locate(model)?;
        let mut pending = Vec::new();
        let parts = Parts::open(&model, &mut pending)?;
        Ok(Self {
            parts,
            refiner: None,
            files: WeightFiles::of_model(model),
            controlnets: Vec::new(),
            loras: Vec::new(),
            embeddings: Vec::new(),
            strictness: Strictness::Strict,
            variant: Variant::Default,
            dtype: FloatDType::F32,
            products: None,
            tiled_vae: false,
            low_memory: false,
            notices: Notices::default(),
            pending,
        })
    }

    /// Replaces the UNet: a component folder, or a file in any dialect. A file without a `config.json` beside it says
    /// by its shapes what it is; what they do not say is as in the model's own. If it says that it predicts velocity
    /// (`v_pred`, `ztsnr`), it is sampled so.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or has no UNet in it; [`Error::Misfit`] for one
    /// of another family.
    pub fn unet(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = &locate(location)?;
        let (Parts { unet: own, defaults, .. }, pending) = (&mut self.parts, &mut self.pending);
        let had_unet = own.is_some();
        *own = Some(Part::open(location, folder::unet_config, || {
            let file = SingleFile::open_for(location, own.as_ref().map(|own| &own.config))?;
            defaults.sampling.heed(&file);
            tell_of_leftovers(location, file.left_over, pending);
            let unet = file.unet.ok_or_else(|| lacks(location, "UNet"))?;
            Ok(Part { config: unet.config, weights: Weights::Source(unet.weights) })
        })?);
        self.parts.check_family(had_unet)?;
        self.files.unet = Some(location.clone());
        Ok(self)
    }

    /// Adds weights to the UNet's that are stored as what they differ by from those of a base, tensor by tensor, so many
    /// times: a component folder, or a file in any dialect. PeRFlow for Stable Diffusion 1.5 is published so, for any model
    /// of that family. LoRAs are merged over the sum.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or has no UNet in it; [`Error::Misfit`] for one of
    /// another family; [`Error::Request`] for a weight that is not finite. Tensors that do not fit the UNet's are
    /// [`load`](Self::load)'s to find.
    pub fn difference(mut self, location: impl Into<Location>, weight: f32) -> Result<Self, Error> {
        let location = &locate(location)?;
        let own = &self.parts.unet()?.config;
        let part = Part::open(location, folder::unet_config, || {
            let unet =
                SingleFile::open_for(location, Some(own))?.unet.ok_or_else(|| lacks(location, "UNet"))?;
            Ok(Part { config: unet.config, weights: Weights::Source(unet.weights) })
        })?;
        self.parts.check_is_of_family(&part.config)?;
        if !weight.is_finite() {
            return Err(refuse("weight of a difference", "a finite number", weight));
        }
        self.parts.difference = Some((part, weight));
        self.files.difference = Some((location.clone(), weight));
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
        let (own, pending) = (&self.parts.vae, &mut self.pending);
        let part = Part::open(location, AutoencoderConfig::of, || {
            let file = SingleFile::open(location)?;
            tell_of_leftovers(location, file.left_over, pending);
            if let Some(tiny) = file.tiny_vae {
                return Ok(Part {
                    config: AutoencoderConfig::Tiny(tiny.config),
                    weights: Weights::Source(tiny.weights),
                });
            }
            let vae = file.vae.ok_or_else(|| lacks(location, "VAE"))?;
            let config = match own.as_ref().map(|own| &own.config) {
                // What shapes cannot say is as in the model's own, where that is as wide.
                Some(AutoencoderConfig::Kl(own))
                    if own.block_out_channels == vae.config.block_out_channels =>
                {
                    vae.config.completed_by(own)
                }
                _ => vae.config.completed_by(&published),
            };
            Ok(Part { config: AutoencoderConfig::Kl(config), weights: Weights::Source(vae.weights) })
        })?;
        self.parts.vae = Some(part);
        self.files.vae = Some(location.clone());
        Ok(self)
    }

    /// Lets a second model, SDXL's refiner or another SDXL, take over in the last steps, where a request's
    /// [`Refine`](crate::Refine) says: a folder in diffusers' layout, a checkpoint in one file, or a repository on the hub.
    /// It reads the prompts with text encoders of its own. The latents, the scheduler and the VAE are the model's; its LoRAs
    /// and ControlNets have no part in the refiner.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened; [`Error::Misfit`] for a family that draws on other
    /// latents.
    pub fn refiner(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = locate(location)?;
        let refiner = Parts::open(&location, &mut self.pending)?;
        refiner.check_refines(&self.parts)?;
        self.files.refiner = Some((location, refiner.profile));
        self.refiner = Some(refiner);
        Ok(self)
    }

    /// Replaces the (first) text encoder, or gives it to a model without: a component folder, or a file with a CLIP text
    /// encoder alone or in a checkpoint. What its shapes do not say is as in the model's own, where that is as large. The
    /// tokenizer stays the model's.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or has no such encoder in it.
    pub fn text_encoder(self, location: impl Into<Location>) -> Result<Self, Error> {
        self.text_encoder_at(0, location.into())
    }

    /// The same for SDXL's second text encoder, OpenCLIP's.
    ///
    /// # Errors
    /// As [`text_encoder`](Self::text_encoder), and [`Error::Unsupported`] for a model of a family with one.
    pub fn text_encoder_2(self, location: impl Into<Location>) -> Result<Self, Error> {
        self.text_encoder_at(1, location.into())
    }

    fn text_encoder_at(mut self, place: usize, location: Location) -> Result<Self, Error> {
        let location = locate(location)?;
        let traits = self.parts.profile.text_encoders.get(place);
        let own = self.parts.text.get(place).and_then(|text| text.part.as_ref()).map(|part| &part.config);
        let part = Part::open(&location, folder::text_config, || {
            let traits =
                traits.ok_or_else(|| lacks(&location, "second text encoder of this model's family"))?;
            let part = SingleFile::open_text_encoder(&location, (place, traits), own)?;
            Ok(Part { config: part.config, weights: Weights::Source(part.weights) })
        })?;
        self.parts.replace_text(place, part)?;
        self.files.text.insert(place, location);
        Ok(self)
    }

    /// Adds a ControlNet: a component folder, or a file in any dialect. A request then has one
    /// [`Control`](crate::Control) for each, in the order they were added.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for what cannot be opened, or is no ControlNet.
    pub fn controlnet(mut self, location: impl Into<Location>) -> Result<Self, Error> {
        let location = &locate(location)?;
        let pending = &mut self.pending;
        self.controlnets.push(Part::open(location, controlnet_config, || {
            let found =
                SingleFile::open(location)?.controlnet.ok_or_else(|| lacks(location, "ControlNet"))?;
            let pools = location.file_name().and_then(|name| {
                ControlNetConfig::pools_by_name(name.rsplit_once('.').map_or(&*name, |(stem, _)| stem))
            });
            if pools != Some(false) {
                let origin = location.to_string();
                pending.push(Notice::ControlNetAssumed { origin, pools: pools.is_some() });
            }
            let global_pool_conditions = pools.unwrap_or(false);
            let config = ControlNetConfig { global_pool_conditions, ..ControlNetConfig::from_part(&found)? };
            Ok(Part { config, weights: Weights::Source(found.weights) })
        })?);
        self.files.controlnets.push(location.clone());
        Ok(self)
    }

    /// Adds a LoRA file, to be merged with this weight while the model is loaded; after those added before. The weight
    /// is a number, or [`LoraWeights`] for one in each network. Words that the file brings along (`bundle_emb.*`) are added as
    /// by [`embedding`](Self::embedding), or a [`Notice`] says why not.
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
        self.loras.push(open_lora(&location, weight)?);
        self.files.loras.push((location, weight.unet));
        Ok(self)
    }

    /// Adds a word of one's own (textual inversion): a file with its embeddings (`.safetensors`, `.pt` or `.bin`), as AUTOMATIC1111's web UI,
    /// kohya's scripts and diffusers write them. Without `word` it stands for the one that the file says, which diffusers'
    /// do (`<cat-toy>`), else for the file's name. It is found wherever a prompt has it, in upper or lower case, and is as
    /// many tokens as it has vectors.
    ///
    /// # Errors
    /// [`Error::Weights`] and [`Error::Model`] for a file that cannot be read or is for other text encoders, and for a word
    /// that is in the tokenizer's vocabulary or comes twice.
    pub fn embedding(mut self, location: impl Into<Location>, word: Option<&str>) -> Result<Self, Error> {
        let location = locate(location)?;
        self.embeddings.push(Embedding::open(&location, word)?);
        self.parts.check_embeddings(&self.embeddings)?;
        self.files.embeddings.push(location);
        Ok(self)
    }

    /// Lets a LoRA be merged of which some modules fit nothing, and a network be filled from a file that has more than it
    /// has parameters for; a [`Notice`] says what. Without this both are errors, because they nearly always mean that the
    /// file is for another model.
    #[must_use]
    pub fn lenient(self) -> Self {
        Self { strictness: Strictness::Lenient, ..self }
    }

    /// Chooses among a folder's weight files, `fp16` for instance; without this the plain ones.
    #[must_use]
    pub fn variant(self, name: impl Into<String>) -> Self {
        Self { variant: Variant::Named(name.into()), ..self }
    }

    /// The type that weights are stored in, whatever the files hold; f32 without this.
    ///
    /// A GPU computes in the same type. The CPU computes in f32, and there f16 and bf16 halve the memory of the weights and
    /// lose what rounding them loses, nothing more; but where the processor multiplies bf16 faster, weights in bf16 are
    /// multiplied so, unless [`products`](Self::products) says otherwise. A LoRA is merged in f32 and the sum rounded once.
    #[must_use]
    pub fn dtype(self, dtype: FloatDType) -> Self {
        Self { dtype, ..self }
    }

    /// What the layers of the networks multiply on the CPU, whatever weights are stored in; GPUs do not mind.
    ///
    /// - [`F32`](Products::F32): the type of the weights only saves memory.
    /// - [`Bf16`](Products::Bf16): with weights in bf16, where the processor can. What weights in bf16 do without this.
    /// - [`Int8`](Products::Int8): the UNet's and the ControlNets' weights are kept in 8 bits, a quarter of the memory of
    ///   f32, and multiplied so on any processor; a LoRA is merged in f32 and the sum rounded once. A few layers, to which it
    ///   would matter most, keep the type of [`dtype`](Self::dtype). Text encoders and VAE multiply bf16, where the
    ///   processor can.
    ///
    /// What is multiplied in the end, [`Pipeline::products`] says.
    #[must_use]
    pub fn products(self, products: Products) -> Self {
        Self { products: Some(products), ..self }
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

    /// The family that the model belongs to.
    #[must_use]
    pub fn family(&self) -> Family {
        self.parts.profile.family
    }

    /// A request with the scheduler and the spacing that it leaves to the model's configuration written out, for
    /// [`Recipe::contradictions`](crate::Recipe::contradictions).
    #[must_use]
    pub fn settled(&self, request: &Request) -> Request {
        self.parts.defaults.sampling.settled(request)
    }

    /// Starts to hash the weight files, on threads of their own, for [`Pipeline::provenance`].
    ///
    /// # Errors
    /// [`Error::Weights`] where a file of the model cannot be found.
    pub fn hash_weights(&self) -> Result<Hashing, Error> {
        self.files.hash(self.parts.profile, &self.variant)
    }

    /// Checks a request against the model's configuration, before the weights are loaded.
    ///
    /// # Errors
    /// Those of [`Pipeline::denoise`], and of [`load`](Self::load) for networks that do not fit each other.
    pub fn check(&self, request: &Request) -> Result<(), Error> {
        self.plan(request).map(drop)
    }

    /// A request against the model's configuration.
    pub(crate) fn plan(&self, request: &Request) -> Result<Plan, Error> {
        let further = self.check_fit()?;
        self.parts.check_prompts(request)?;
        self.refiner.as_ref().map_or(Ok(()), |refiner| refiner.check_prompts(request))?;
        let known = Known {
            profile: self.parts.profile,
            defaults: &self.parts.defaults,
            autoencoder: &self.parts.vae()?.config,
            further,
            refiner: self.refiner.as_ref().map(Parts::prediction),
        };
        Plan::new(request, known)
    }

    /// Loads everything, with the LoRAs merged, onto a device; in [low memory](Self::low_memory), checks everything.
    ///
    /// # Errors
    /// [`Error::Device`] for a device that is not there; [`Error::Weights`] where files and configuration do not fit
    /// each other, naming every tensor that does not; [`Error::Lora`] for a LoRA that does not fit the model;
    /// [`Error::Misfit`] for a UNet that does not fit the other networks; [`Error::Model`] for a ControlNet that does not fit
    /// the UNet.
    pub fn load(mut self, device: &Device) -> Result<Pipeline, Error> {
        device::check(device)?;
        device::check_dtype(device, self.dtype)?;
        let further = self.check_fit()?;
        let options = LoadOptions { device: device.clone(), dtype: self.dtype, ignore: &[] };
        let numbers = Numbers::choose(self.dtype, self.products, device);
        // Everything is opened and checked before anything large is read.
        let sources = self.open_sources()?;
        let (notices, low_memory) = (self.notices.clone(), self.low_memory);
        self.tell_of_cut_layers(&sources.bases, &notices)?;
        let lora_bases = LoraBases { bases: sources.bases.clone(), strictness: self.strictness };
        let lora_reports = sources.lora_reports.clone();
        let embeddings = self.with_words_of_loras();
        let pending = std::mem::take(&mut self.pending);
        let leftovers = Leftovers::new(self.strictness);
        if numbers.falls_short(self.dtype, self.products, device) {
            notices.give(Notice::MultipliedInF32);
        }
        pending.into_iter().for_each(|notice| notices.give(notice));
        let mut model = self.assemble(sources, further, &options, numbers, &leftovers)?;
        leftovers.tell(&notices);
        tell_of_loras(&lora_reports, &notices);
        model.set_words(&embeddings)?;
        if !low_memory {
            model.keep()?;
        }
        Ok(Pipeline { model, products: numbers.denoiser, lora_bases, lora_reports, notices })
    }

    /// The words that were added, and those that LoRA files bring along and the text encoders can take.
    fn with_words_of_loras(&mut self) -> Vec<Embedding> {
        let mut embeddings = std::mem::take(&mut self.embeddings);
        for file in self.loras.iter().map(|lora| &lora.file) {
            for word in file.words() {
                let taken = Embedding::of_lora(file, word).and_then(|embedding| {
                    embeddings.push(embedding);
                    self.parts.check_embeddings(&embeddings).inspect_err(|_| drop(embeddings.pop()))
                });
                if let Err(error) = taken {
                    let (file, word) = (file.origin(), word.to_string());
                    self.notices.give(Notice::LoraWord { file, word, reason: error.to_string() });
                }
            }
        }
        embeddings
    }

    /// Makes sure that the networks can work together, and says what the UNet wants beside latents.
    fn check_fit(&self) -> Result<FurtherInput, Error> {
        let further = self.parts.check_fit()?;
        self.controlnets.iter().try_for_each(|part| self.parts.check_controlnet(&part.config))?;
        if let Some(refiner) = &self.refiner {
            refiner.check_refines(&self.parts)?;
            refiner.check_embeddings(&self.embeddings)?;
        }
        Ok(further)
    }

    /// The sources of every network's weights.
    fn open_sources(&self) -> Result<Sources, Error> {
        let bases = self.parts.bases(&self.variant)?;
        let merged = merge(&bases, &self.loras, self.strictness)?;
        let refiner = match &self.refiner {
            Some(parts) => merge::<LoraWeights>(&parts.bases(&self.variant)?, &[], self.strictness)?.sources,
            None => Vec::new(),
        };
        let controlnets = self.controlnets.iter().map(|part| part.weights.open(&self.variant));
        Ok(Sources {
            vae: self.parts.vae()?.weights.open(&self.variant)?,
            controlnets: controlnets.collect::<Result<_, _>>()?,
            bases,
            merged: merged.sources,
            refiner,
            lora_reports: merged.reports,
        })
    }

    /// Says where a text encoder's file has more layers than its configuration names.
    fn tell_of_cut_layers(&self, bases: &[Base], notices: &Notices) -> Result<(), Error> {
        for ((_, part), base) in self.parts.text()?.into_iter().zip(bases.iter().skip(1)) {
            let (kept, found) = (part.config.num_hidden_layers, layers(&*base.source));
            if found > kept {
                notices.give(Notice::LayersCut { origin: base.source.origin(), kept, found });
            }
        }
        Ok(())
    }

    /// The networks, each with the source of its weights, which are still to be read.
    fn assemble(
        self,
        sources: Sources,
        further: FurtherInput,
        options: &LoadOptions,
        numbers: Numbers,
        leftovers: &Leftovers,
    ) -> Result<Model, Error> {
        let device = &options.device;
        let (text, denoiser) = self.parts.predicting(sources.merged, options, numbers, leftovers)?;
        let refiner = match &self.refiner {
            Some(parts) => {
                let (text, denoiser) = parts.predicting(sources.refiner, options, numbers, leftovers)?;
                Some(Refiner { text, denoiser, prediction: parts.prediction() })
            }
            None => None,
        };
        let others = &LoadOptions { dtype: numbers.others_dtype, ..options.clone() };
        let vae = self.parts.vae()?.config.clone();
        let Parts { profile, defaults, .. } = self.parts;
        let mut controlnets = Vec::new();
        for (part, source) in self.controlnets.iter().zip(sources.controlnets) {
            let controlnet = ControlNet::new(&part.config, device)?;
            controlnets.push(Network::new(controlnet, source, options.clone(), numbers.denoiser, leftovers)?);
        }
        Ok(Model {
            text,
            denoiser,
            refiner,
            further,
            controlnets,
            autoencoder: Autoencoder::new(
                vae,
                sources.vae,
                (others, numbers.others),
                leftovers,
                profile.upcast_vae,
                self.tiled_vae,
            )?,
            defaults,
            device: device.clone(),
        })
    }
}

/// The sources of a pipeline's weights.
struct Sources {
    /// Of the networks that a LoRA can change.
    bases: Vec<Base>,
    /// One over each of these, with the LoRAs.
    merged: Vec<Arc<Merged>>,
    /// Of the same networks of the refiner, without any.
    refiner: Vec<Arc<Merged>>,
    lora_reports: Vec<LoraReport>,
    vae: SharedSource,
    controlnets: Vec<SharedSource>,
}

/// A LoRA file with its weight in every network.
pub(crate) fn open_lora(
    location: &Location,
    weight: impl Into<LoraWeights>,
) -> Result<Lora<LoraWeights>, Error> {
    Ok(Lora { file: Arc::new(LoraFile::open(location)?), weight: weight.into() })
}

/// Says which LoRAs were applied in part, which only lenient merging allows.
pub(crate) fn tell_of_loras(reports: &[LoraReport], notices: &Notices) {
    for report in reports.iter().filter(|report| report.applied < report.modules) {
        notices.give(Notice::LoraInPart(Box::new(report.clone())));
    }
}

/// A ControlNet's configuration, checked.
fn controlnet_config(component: &Component) -> Result<ControlNetConfig, Error> {
    let config: ControlNetConfig = component.config()?;
    config.validate().map_err(Error::config(component.location()))?;
    Ok(config)
}

/// Notes what a file has that is no network's.
fn tell_of_leftovers(location: &Location, names: Vec<String>, pending: &mut Vec<Notice>) {
    if !names.is_empty() {
        pending.push(Notice::TensorsLeftOver { origin: location.to_string(), names });
    }
}

fn lacks(location: &Location, network: &str) -> Error {
    Error::Unsupported {
        origin: location.to_string(),
        found: format!("no {network} is in the file"),
        instead: format!("give a file with a {network}"),
    }
}
