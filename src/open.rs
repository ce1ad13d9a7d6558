//! From files to a pipeline: what is opened, and in which order it is loaded.

mod checkpoint;
mod folder;
mod given;
mod locate;
mod memory;
mod numbers;
mod parts;

use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use hypersd_controlnet::{ControlNet, ControlNetConfig};
use hypersd_core::{Family, LoadOptions, Location, Products, SharedSource, Variant};
use hypersd_lora::{Base, Lora, LoraFile, LoraReport, Merged, Strictness, Weights as LoraWeights, merge};
use hypersd_models::clip::layers;

use crate::{
    Error, Notice, Pipeline, Request, device,
    draw::{Autoencoder, FurtherInput, Known, Model, Plan, Refiner},
    embeddings::Embedding,
    network::{Leftovers, Network},
    notice::Notices,
    pipeline::LoraBases,
    provenance::{Hashing, WeightFiles},
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

/// Notes what a file has that is no network's.
fn tell_of_leftovers(location: &Location, names: Vec<String>, pending: &mut Vec<Notice>) {
    if !names.is_empty() {
        pending.push(Notice::TensorsLeftOver { origin: location.to_string(), names });
    }
}
