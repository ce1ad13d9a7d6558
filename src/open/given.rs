//! What is given beside a model: parts that replace its own or that it lacks, and what is added to them.

use hypersd_controlnet::ControlNetConfig;
use hypersd_core::{Component, Location};
use hypersd_lora::Weights as LoraWeights;
use hypersd_models::SingleFile;

use super::{Part, Parts, PipelineBuilder, Weights, folder, locate, open_lora, tell_of_leftovers};
use crate::{Error, Notice, draw::AutoencoderConfig, embeddings::Embedding, start::refuse};

impl PipelineBuilder {
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
