//! From paths to a pipeline: what is opened, what replaces what, and in which order it is loaded.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::{Device, FloatDType};
use hypersd_core::{Component, LoadOptions, ModelFolder, SafetensorsFile, SharedSource, Variant, load};
use hypersd_lora::{Base, Family, Lora, LoraFile, LoraReport, Strictness, merge};
use hypersd_models::unet::{UNet, UNetConfig};
use hypersd_schedulers::Algorithm;

use crate::{
    Error, Pipeline, Request,
    decoder::{Decoder, DecoderConfig},
    family::family,
    prompt::{TextEncoder, TextParts},
    sampling::Sampling,
    size::native_size,
};

/// A model that is opened but not loaded: configurations are read, weights are not.
///
/// Made by [`Pipeline::open`]; each method takes it and gives it back, so that calls chain.
#[derive(Debug)]
pub struct PipelineBuilder {
    unet: Part<UNetConfig>,
    vae: Part<DecoderConfig>,
    text: TextParts,
    sampling: Sampling,
    native_size: [usize; 2],
    loras: Vec<Lora>,
    strictness: Strictness,
    variant: Variant,
    dtype: FloatDType,
}

/// A network's configuration and where its weights are.
#[derive(Debug)]
struct Part<C> {
    config: C,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Folder(Component),
    File(PathBuf),
}

impl PipelineBuilder {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let folder = ModelFolder::open(path)?;
        if folder.component("text_encoder_2")?.is_some() {
            return Err(Error::Unsupported {
                origin: path.display().to_string(),
                found: format!("{} has two text encoders", folder.class_name().unwrap_or("the model")),
                instead: "only Stable Diffusion 1.x is supported".into(),
            });
        }
        let unet = component(&folder, "unet")?;
        let vae = component(&folder, "vae")?;
        Ok(Self {
            native_size: native_size(&unet)?,
            unet: Part { config: unet_config(&unet)?, weights: Weights::Folder(unet) },
            vae: Part { config: DecoderConfig::of(&vae)?, weights: Weights::Folder(vae) },
            text: TextParts::open(
                folder.component("tokenizer")?.as_ref(),
                component(&folder, "text_encoder")?,
            )?,
            sampling: Sampling::open(folder.component("scheduler")?.as_ref())?,
            loras: Vec::new(),
            strictness: Strictness::Strict,
            variant: Variant::Default,
            dtype: FloatDType::F32,
        })
    }

    /// Replaces the UNet: a component folder, or a file. A file without a `config.json` beside it takes the
    /// configuration of the model's own.
    ///
    /// # Errors
    /// [`Error::Weights`] for what cannot be opened.
    pub fn unet(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let own = self.unet.config.clone();
        self.unet = Part::open(path.as_ref(), unet_config, |_| own)?;
        Ok(self)
    }

    /// Replaces the VAE, with a KL VAE or a TAESD: a component folder, or a file. A file without a `config.json`
    /// beside it is known for a TAESD by its names; a KL VAE takes the configuration of the model's own.
    ///
    /// # Errors
    /// [`Error::Weights`] for what cannot be opened.
    pub fn vae(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let own = self.vae.config.clone();
        self.vae = Part::open(path.as_ref(), DecoderConfig::of, |source| DecoderConfig::guess(source, own))?;
        Ok(self)
    }

    /// Adds a LoRA file, to be merged with this weight while the model is loaded; after those added before.
    ///
    /// # Errors
    /// [`Error::Lora`] for a file that is no LoRA that hypersd reads.
    pub fn lora(mut self, path: impl AsRef<Path>, weight: f32) -> Result<Self, Error> {
        self.loras.push(Lora { file: Arc::new(LoraFile::open(path.as_ref())?), weight });
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

    /// The type that the networks compute in, whatever the files hold; f32 without this.
    #[must_use]
    pub fn dtype(self, dtype: FloatDType) -> Self {
        Self { dtype, ..self }
    }

    /// The scheduler that a request without one gets, and the class that the model's configuration names: they
    /// differ where hypersd does not have the model's own.
    #[must_use]
    pub fn scheduler(&self) -> (Algorithm, Option<&str>) {
        (self.sampling.default_algorithm(), self.sampling.class_name())
    }

    /// The family that the model's UNet belongs to, by its configuration.
    #[must_use]
    pub fn family(&self) -> Family {
        family(&self.unet.config)
    }

    /// Checks a request against the model's configuration, before the weights are loaded.
    ///
    /// # Errors
    /// What [`Pipeline::denoise`] would refuse.
    pub fn check(&self, request: &Request) -> Result<(), Error> {
        request.check()?;
        self.sampling.schedule(request).map(drop)
    }

    /// Loads everything, with the LoRAs merged, onto a device.
    ///
    /// # Errors
    /// [`Error::Weights`] where files and configuration do not fit each other, naming every tensor that does not;
    /// [`Error::Lora`] for a LoRA that does not fit the model.
    pub fn load(self, device: &Device) -> Result<Pipeline, Error> {
        let text_source = self.text.weights(&self.variant)?;
        let (unet_source, lora_reports) = self.merged()?;
        let vae_source = self.vae.weights.open(&self.variant)?;
        let options = LoadOptions { device: device.clone(), dtype: self.dtype, ignore: &[] };

        let text = TextEncoder::load(self.text, &text_source, &options)?;
        let unet = load(UNet::new(&self.unet.config, device)?, &*unet_source, &options)?;
        let decoder = Decoder::load(&self.vae.config, &*vae_source, &options)?;
        Ok(Pipeline {
            text,
            unet,
            decoder,
            sampling: self.sampling,
            native_size: self.native_size,
            lora_reports,
            device: device.clone(),
        })
    }

    /// The UNet's weights with the LoRAs over them.
    fn merged(&self) -> Result<(SharedSource, Vec<LoraReport>), Error> {
        let unet = Base { prefix: "lora_unet_", source: self.unet.weights.open(&self.variant)? };
        let mut merged = merge(&[unet], &self.loras, self.strictness)?;
        let unet = merged.sources.remove(0);
        Ok((unet, merged.reports))
    }
}

impl<C> Part<C> {
    /// A folder's configuration is `read`; a file without one beside it has it `guessed` from its tensors.
    fn open(
        path: &Path,
        read: impl Fn(&Component) -> Result<C, Error>,
        guess: impl FnOnce(&SharedSource) -> C,
    ) -> Result<Self, Error> {
        if path.is_dir() {
            let component = Component::open(path)?;
            return Ok(Self { config: read(&component)?, weights: Weights::Folder(component) });
        }
        let weights = Weights::File(path.to_path_buf());
        let source = weights.open(&Variant::Default)?;
        let config = match path.parent() {
            Some(folder) if folder.join("config.json").is_file() => read(&Component::open(folder)?)?,
            _ => guess(&source),
        };
        Ok(Self { config, weights })
    }
}

impl Weights {
    fn open(&self, variant: &Variant) -> Result<SharedSource, Error> {
        Ok(match self {
            Self::Folder(component) => component.weights(variant)?,
            Self::File(path) => Arc::new(SafetensorsFile::open(path)?),
        })
    }
}

/// A UNet's configuration, checked.
fn unet_config(component: &Component) -> Result<UNetConfig, Error> {
    let config: UNetConfig = component.config()?;
    config.validate().map_err(Error::config(component.path().display()))?;
    Ok(config)
}

/// A component that every model must have.
fn component(folder: &ModelFolder, name: &'static str) -> Result<Component, Error> {
    folder.component(name)?.ok_or_else(|| Error::Unsupported {
        origin: folder.path().display().to_string(),
        found: format!("model_index.json lists no {name}"),
        instead: "use a complete Stable Diffusion folder".into(),
    })
}
