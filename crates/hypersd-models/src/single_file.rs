//! Checkpoints in one file: which networks are in it, of which family, in what configuration.

use std::{collections::BTreeSet, sync::Arc};

use hypersd_core::{Error as Core, Family, Location, Mismatch, SafetensorsFile, SharedSource, TensorSource};

use crate::{
    Error, Heads, Prediction, Profile,
    clip::{ClipTextConfig, HiddenAct},
    infer,
    tiny_vae::TinyVaeConfig,
    unet::UNetConfig,
    vae::VaeConfig,
};

mod family;
mod sections;
mod tiny_pair;

pub use family::{IGNORED, Ignored};
use sections::Network;

/// The networks of a weight file that has no configuration: a whole checkpoint, or a UNet, a VAE, a TAESD or a
/// ControlNet alone, in any of the dialects of [`keys`](crate::keys).
///
/// Nothing but the names and shapes is read. Whatever shapes can say comes from them, the rest is the
/// [`family`](Self::family)'s.
///
/// ```no_run
/// use hypersd_core::Family;
/// use hypersd_models::SingleFile;
///
/// let file = SingleFile::open("v1-5-pruned-emaonly.safetensors")?;
/// assert_eq!(file.family, Some(Family::Sd1));
/// let unet = file.unet.expect("a whole checkpoint has one");
/// assert_eq!(unet.config.in_channels, 4);
/// assert!(unet.weights.info("down_blocks.0.resnets.0.conv1.weight").is_some());
/// # Ok::<(), hypersd_models::Error>(())
/// ```
#[derive(Debug)]
pub struct SingleFile {
    /// Whose the file is; `None` for a VAE alone, which could be anybody's.
    pub family: Option<Family>,
    /// The prediction of the UNet; `None` for SD2.x, of which there are both kinds, and where there is no UNet.
    pub prediction: Option<Prediction>,
    /// True where the file says that it was trained down to a signal-to-noise ratio of zero (`ztsnr`).
    pub zero_snr: bool,
    /// The UNet.
    pub unet: Option<Part<UNetConfig>>,
    /// The VAE. Where the family is not known, its scale is SD1.x's and has to be set by who does know.
    pub vae: Option<Part<VaeConfig>>,
    /// A TAESD.
    pub tiny_vae: Option<Part<TinyVaeConfig>>,
    /// The only text encoder, or SDXL's first.
    pub text_encoder: Option<Part<ClipTextConfig>>,
    /// SDXL's second text encoder.
    pub text_encoder_2: Option<Part<ClipTextConfig>>,
    /// A ControlNet, with the configuration of the UNet that its encoder half is one of.
    pub controlnet: Option<Part<UNetConfig>>,
}

/// One network of a file.
#[derive(Clone)]
pub struct Part<C> {
    /// The configuration that it can be built from; valid.
    pub config: C,
    /// Its tensors under canonical names, and those that nobody knows under their own.
    pub weights: SharedSource,
}

/// Marks of a fine-tune for velocity, and for a schedule that ends at pure noise: tensors by their name alone.
const MARKS: [&str; 2] = ["v_pred", "ztsnr"];

impl SingleFile {
    /// Opens a `.safetensors` file. Of a TAESD in two files, either is enough if both are in one folder.
    ///
    /// # Errors
    /// [`Error::Family`] for another family of models, naming it; [`Error::Core`] for what cannot be read, and for
    /// tensors that belong to no network; [`Error::Config`] for shapes that no network has.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        Self::open_for(location, None)
    }

    /// Opens a file that takes a part's place in a model: what shapes do not say of a UNet is as in the model's
    /// `own`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for(location: impl Into<Location>, own: Option<&UNetConfig>) -> Result<Self, Error> {
        let location = location.into();
        let file = Arc::new(SafetensorsFile::open(&location)?);
        Self::read(tiny_pair::complete(&location, file)?, own)
    }

    /// Recognises the networks of any source of tensors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(source: SharedSource, own: Option<&UNetConfig>) -> Result<Self, Error> {
        let origin = source.origin();
        let mut names: BTreeSet<String> = source.names().into_iter().collect();
        family::refuse_foreign(&origin, &names)?;
        names.retain(|name| !family::is_ignored(name));
        let [velocity, zero_snr] = MARKS.map(|mark| names.remove(mark));

        let sections = sections::sections(&source, &mut names)?;
        if sections.is_empty() {
            return Err(Core::Format {
                origin,
                expected: "a checkpoint, or a UNet, VAE, TAESD or ControlNet".into(),
                found: listing(&names),
            }
            .into());
        }
        if !names.is_empty() {
            return Err(unused(origin, names));
        }
        let unet = sections.iter().find(|(section, _)| section.network.is_unet()).map(|(_, weights)| weights);
        let family = sections.iter().find_map(|(section, _)| section.family);
        let family = family.or_else(|| unet.map(family_of));
        let profile = profile(&origin, family)?;
        let prediction = if velocity { Some(Prediction::Velocity) } else { profile.prediction };
        let mut file = Self {
            family,
            prediction: unet.and(prediction),
            zero_snr,
            unet: None,
            vae: None,
            tiny_vae: None,
            text_encoder: None,
            text_encoder_2: None,
            controlnet: None,
        };
        for (section, weights) in sections {
            file.add(section.network, profile, weights, own)?;
        }
        Ok(file)
    }

    /// Finds out the configuration of a network and keeps both. SDXL's second text encoder has to come before the
    /// UNet, which takes its pooled state.
    fn add(
        &mut self,
        network: Network,
        profile: &Profile,
        weights: SharedSource,
        own: Option<&UNetConfig>,
    ) -> Result<(), Error> {
        match network {
            Network::UNet => {
                let config = self.unet_config(&weights, profile.heads, own)?;
                self.unet = Some(Part { config, weights });
            }
            Network::ControlNet => {
                let config = self.unet_config(&weights, profile.heads, own)?;
                self.controlnet = Some(Part { config, weights });
            }
            Network::Vae => {
                self.vae = Some(Part { config: infer::vae(&*weights, (profile.vae)())?, weights });
            }
            Network::TinyVae => {
                self.tiny_vae = Some(Part { config: infer::tiny_vae(&*weights)?, weights });
            }
            Network::TextEncoder(act) => {
                self.text_encoder = Some(Part { config: infer::clip_text(&*weights, act)?, weights });
            }
            Network::TextEncoder2 => {
                let config = infer::clip_text(&*weights, HiddenAct::Gelu)?;
                self.text_encoder_2 = Some(Part { config, weights });
            }
        }
        Ok(())
    }

    fn unet_config(
        &self,
        weights: &SharedSource,
        heads: Heads,
        own: Option<&UNetConfig>,
    ) -> Result<UNetConfig, Error> {
        let config = infer::unet(&**weights, heads, self.number_width(&**weights, own))?;
        match config.projection_class_embeddings_input_dim {
            Some(REFINER_ADDED) => {
                Err(family::foreign(&weights.origin(), family::REFINER, family::REFINER_INSTEAD))
            }
            _ => Ok(config),
        }
    }

    /// Width of the sinusoid of one of the six numbers that SDXL's UNet takes beside the pooled state: what the
    /// pooled state leaves, where there is one.
    fn number_width(&self, weights: &dyn TensorSource, own: Option<&UNetConfig>) -> usize {
        let added = weights.info("add_embedding.linear_1.weight").and_then(|info| info.shape.get(1).copied());
        let pooled = self.text_encoder_2.as_ref().map(|part| part.config.projection_dim);
        match (added, pooled) {
            (Some(added), Some(pooled)) => added.saturating_sub(pooled) / 6,
            _ => own.and_then(|own| own.addition_time_embed_dim).unwrap_or(256),
        }
    }
}

/// What the refiner's UNet takes beside the timestep: a pooled state of 1280 and five numbers.
const REFINER_ADDED: usize = 1280 + 5 * 256;

/// The family of a UNet that stands alone.
fn family_of(unet: &SharedSource) -> Family {
    let extents = |name: &str| unet.info(name).map(|info| info.shape).unwrap_or_default();
    let site = "mid_block.attentions.0";
    let context = extents(&format!("{site}.transformer_blocks.0.attn2.to_k.weight")).get(1).copied();
    let linear = extents(&format!("{site}.proj_in.weight")).len() == 2;
    match context {
        _ if unet.info("add_embedding.linear_1.weight").is_some() => Family::Sdxl,
        Some(768) => Family::Sd1,
        Some(1024) => Family::Sd2,
        _ if linear => Family::Sd2,
        _ => Family::Sd1,
    }
}

/// What no shape says of a file's networks. A VAE alone could be anybody's: it counts as Stable Diffusion 1.x's.
fn profile(origin: &str, family: Option<Family>) -> Result<&'static Profile, Error> {
    let family = family.unwrap_or(Family::Sd1);
    Profile::of(family).ok_or_else(|| family::foreign(origin, &family.to_string(), family::TAKE))
}

/// Tensors outside of every network's place.
fn unused(origin: String, names: BTreeSet<String>) -> Error {
    let mut mismatch = Mismatch::default();
    mismatch.origin = origin;
    mismatch.unused = names.into_iter().collect();
    Core::from(Box::new(mismatch)).into()
}

/// A few names of a file that nobody knows.
fn listing(names: &BTreeSet<String>) -> String {
    let first: Vec<_> = names.iter().take(3).map(|name| format!("{name:?}")).collect();
    match names.len() {
        0 => "no weights".into(),
        count => format!("{count} tensors such as {}", first.join(", ")),
    }
}

impl<C: std::fmt::Debug> std::fmt::Debug for Part<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weights = self.weights.origin();
        f.debug_struct("Part").field("config", &self.config).field("weights", &weights).finish()
    }
}
