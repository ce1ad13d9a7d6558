//! Checkpoints in one file: which networks are in it, of which family, in what configuration.

use std::{collections::BTreeSet, sync::Arc};

use hypersd_core::{Error as Core, Family, Location, Mismatch, SharedSource, TensorSource, WeightFile};

use crate::{
    Error, Prediction, Profile, TextProfile, clip::ClipTextConfig, infer, tiny_vae::TinyVaeConfig,
    unet::UNetConfig, vae::VaeConfig,
};

mod family;
mod ggml;
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
#[non_exhaustive]
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
    /// The text encoders, in the order of the family's [profile](Profile::text_encoders).
    pub text_encoders: Vec<Part<ClipTextConfig>>,
    /// The place of each of them in the profile: of SDXL's two encoders a file may have the second alone.
    pub text_places: Vec<usize>,
    /// Tensors outside of every network's place (`global_step`, a stray LoRA module, another family's text encoder), sorted.
    pub left_over: Vec<String>,
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
    /// Opens a weight file of any [kind](WeightFile). Of a TAESD in two files, either is enough if both are in one folder.
    ///
    /// # Errors
    /// [`Error::Family`] for another family of models, naming it; [`Error::Core`] for what cannot be read, and for
    /// tensors that belong to no network; [`Error::Config`] for shapes that no network has.
    pub fn open(location: impl Into<Location>) -> Result<Self, Error> {
        Self::open_for(location, None)
    }

    /// Opens a file that takes a part's place in a model: what shapes do not say of a UNet is as in the model's `own`,
    /// where the file's shapes are its own, too.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for(location: impl Into<Location>, own: Option<&UNetConfig>) -> Result<Self, Error> {
        let location = location.into();
        let file = Arc::new(WeightFile::open(&location)?);
        Self::read(tiny_pair::complete(&location, file)?, own)
    }

    /// Opens a file with a text encoder, alone or in a checkpoint, for a place of a family's. What shapes do not say is as
    /// in the model's `own`, where that is as large, else as in the published ones of this activation.
    ///
    /// # Errors
    /// [`Error::Family`] where there is none; otherwise as [`open`](Self::open).
    pub fn open_text_encoder(
        location: impl Into<Location>,
        (place, traits): (usize, &TextProfile),
        own: Option<&ClipTextConfig>,
    ) -> Result<Part<ClipTextConfig>, Error> {
        let location = location.into();
        let source: SharedSource = Arc::new(WeightFile::open(&location)?);
        let found = match sections::text_encoder_alone(&source)? {
            Some(weights) => Some(Part { config: infer::clip_text(&*weights, traits.hidden_act)?, weights }),
            None => {
                let file = Self::read(source, None)?;
                let of_place = |(at, _): &(usize, _)| *at == place;
                file.text_places.into_iter().zip(file.text_encoders).find(of_place).map(|(_, part)| part)
            }
        };
        let mut part = found.ok_or_else(|| {
            let instead = "give a file with a CLIP text encoder of this family";
            family::foreign(&location.to_string(), &format!("a file without a {}", traits.encoder), instead)
        })?;
        if let Some(own) = own {
            part.config = part.config.completed_by(own);
        }
        Ok(part)
    }

    /// Recognises the networks of any source of tensors.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(source: SharedSource, own: Option<&UNetConfig>) -> Result<Self, Error> {
        let source = ggml::published(source)?;
        let origin = source.origin();
        let mut names: BTreeSet<String> = source.names().into_iter().collect();
        family::refuse_foreign(&origin, &names)?;
        names.retain(|name| !family::is_ignored(name));
        let [velocity, zero_snr] = MARKS.map(|mark| names.remove(mark));

        let sections = sections::sections(&source, &mut names)?;
        if sections.is_empty() {
            family::refuse_parts(&origin, &names)?;
            return Err(Core::Format {
                origin,
                expected: "a checkpoint, or a UNet, VAE, TAESD or ControlNet".into(),
                found: listing(&names),
            }
            .into());
        }
        let strange: BTreeSet<String> = names.extract_if(.., |name| sections::is_in_a_place(name)).collect();
        if !strange.is_empty() {
            return Err(unused(origin, strange));
        }
        let unet = sections.iter().find(|(section, _)| section.network.is_unet()).map(|(_, weights)| weights);
        let of_text = sections.iter().find_map(|(section, _)| section.family);
        // A UNet knows best: what stands beside it may be another model's. But no shape tells a small refiner from what it
        // refines; its text encoder does.
        let family = match unet {
            Some(unet) => {
                let own = infer::family(&**unet)?;
                let refined_by = Profile::of(own).map_or(&[][..], |profile| profile.refined_by);
                Some(of_text.filter(|text| refined_by.contains(text)).unwrap_or(own))
            }
            None => of_text,
        };
        let profile = profile(&origin, family)?;
        let prediction = if velocity { Some(Prediction::Velocity) } else { profile.prediction };
        let mut file = Self {
            family,
            prediction: unet.and(prediction),
            zero_snr,
            unet: None,
            vae: None,
            tiny_vae: None,
            text_encoders: Vec::new(),
            text_places: Vec::new(),
            left_over: names.into_iter().collect(),
            controlnet: None,
        };
        for (section, weights) in sections {
            if section.family.is_some_and(|other| Some(other) != family) {
                file.left_over.extend(weights.names());
                continue;
            }
            file.add(section.network, profile, weights, own)?;
        }
        Ok(file)
    }

    /// Finds out the configuration of a network and keeps both. Text encoders come before the UNet, which may take a
    /// pooled state of theirs.
    fn add(
        &mut self,
        network: Network,
        profile: &Profile,
        weights: SharedSource,
        own: Option<&UNetConfig>,
    ) -> Result<(), Error> {
        match network {
            Network::UNet => {
                let config = self.unet_config(&weights, profile, own)?;
                self.unet = Some(Part { config, weights });
            }
            Network::ControlNet => {
                let config = self.unet_config(&weights, profile, own)?;
                self.controlnet = Some(Part { config, weights });
            }
            Network::Vae => {
                self.vae = Some(Part { config: infer::vae(&*weights, (profile.vae)())?, weights });
            }
            Network::TinyVae => {
                self.tiny_vae = Some(Part { config: infer::tiny_vae(&*weights)?, weights });
            }
            Network::TextEncoder(act, place) => {
                self.text_places.push(place);
                self.text_encoders.push(Part { config: infer::clip_text(&*weights, act)?, weights });
            }
        }
        Ok(())
    }

    fn unet_config(
        &self,
        weights: &SharedSource,
        profile: &Profile,
        own: Option<&UNetConfig>,
    ) -> Result<UNetConfig, Error> {
        let config = infer::unet(&**weights, profile.heads, self.number_width(&**weights, profile, own))?;
        match own.map(|own| config.completed_by(own)) {
            Some(completed) if completed.validate().is_ok() => Ok(completed),
            _ => Ok(config),
        }
    }

    /// Width of the sinusoid of one of the numbers that a UNet takes beside a pooled state: what the pooled state leaves,
    /// where there is one.
    fn number_width(&self, weights: &dyn TensorSource, profile: &Profile, own: Option<&UNetConfig>) -> usize {
        let added = weights.info("add_embedding.linear_1.weight").and_then(|info| info.shape.get(1).copied());
        let mut encoders = self.text_places.iter().zip(&self.text_encoders);
        let is_pooled = |place: usize| profile.text_encoders.get(place).is_some_and(|traits| traits.pooled);
        let pooled = encoders.find(|&(&place, _)| is_pooled(place));
        match (added, pooled) {
            (Some(added), Some((_, part))) if profile.numbers.count() > 0 => {
                added.saturating_sub(part.config.projection_dim) / profile.numbers.count()
            }
            _ => own.and_then(|own| own.addition_time_embed_dim).unwrap_or(infer::NUMBER_WIDTH),
        }
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
