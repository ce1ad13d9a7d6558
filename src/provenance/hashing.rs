//! Finding the files that the weights came from, and hashing them: the world over they go by their SHA-256.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    thread::{self, JoinHandle},
};

use hypersd_core::{Component, Error as Core, Location, ModelFolder, Variant};
use hypersd_models::Profile;

use super::{WeightFile, WeightPart};
use crate::{Error, digest::sha256};

/// Digits of a file's SHA-256 that AUTOMATIC1111's web UI and Civitai (AutoV2) know it by.
const FILE_DIGITS: usize = 10;
/// Digits of the SHA-256 of a safetensors file's tensors, that a LoRA is known by (AutoV3): its header, where
/// training tools keep notes, does not count.
const TENSOR_DIGITS: usize = 12;

/// The files that a pipeline was opened from.
#[derive(Debug, Clone)]
pub(crate) struct WeightFiles {
    /// The model's name as the user gave it.
    name: String,
    /// Its folder or its file.
    model: Location,
    pub(crate) unet: Option<Location>,
    /// By their places in the family.
    pub(crate) text: BTreeMap<usize, Location>,
    /// With its weight.
    pub(crate) difference: Option<(Location, f32)>,
    pub(crate) vae: Option<Location>,
    /// With its family's profile.
    pub(crate) refiner: Option<(Location, &'static Profile)>,
    pub(crate) loras: Vec<(Location, f32)>,
    pub(crate) controlnets: Vec<Location>,
    pub(crate) embeddings: Vec<Location>,
}

impl WeightFiles {
    /// A model in a folder or a file.
    pub(crate) fn of_model(model: Location) -> Self {
        Self {
            name: name(&model),
            model,
            unet: None,
            text: BTreeMap::new(),
            difference: None,
            vae: None,
            refiner: None,
            loras: Vec::new(),
            controlnets: Vec::new(),
            embeddings: Vec::new(),
        }
    }

    /// Starts to hash them all.
    pub(crate) fn hash(&self, profile: &Profile, variant: &Variant) -> Result<Hashing, Error> {
        let mut hashing = Hashing { files: Vec::new() };
        if self.model.is_file() {
            hashing.start(WeightPart::Model, &self.name, &self.model, None);
        } else {
            self.hash_folder(profile, variant, &mut hashing)?;
        }
        if let Some((location, profile)) = &self.refiner {
            hash_refiner(location, profile, variant, &mut hashing)?;
        }
        let replaced = [(WeightPart::UNet, &self.unet), (WeightPart::Vae, &self.vae)];
        let replaced = replaced.into_iter().filter_map(|(part, location)| Some((part, location.as_ref()?)));
        let controlnets = self.controlnets.iter().map(|location| (WeightPart::ControlNet, location));
        let text = self.text.values().map(|location| (WeightPart::TextEncoder, location));
        for (part, location) in replaced.chain(text).chain(controlnets) {
            for file in files(location, variant)? {
                hashing.start(part.clone(), &name(location), &file, None);
            }
        }
        if let Some((location, weight)) = &self.difference {
            for file in files(location, variant)? {
                hashing.start(WeightPart::Difference, &name(location), &file, Some(*weight));
            }
        }
        for file in &self.embeddings {
            hashing.start(WeightPart::Embedding, &name(file), file, None);
        }
        for (file, weight) in &self.loras {
            hashing.start(WeightPart::Lora, &name(file), file, Some(*weight));
        }
        Ok(hashing)
    }

    fn hash_folder(&self, profile: &Profile, variant: &Variant, hashing: &mut Hashing) -> Result<(), Error> {
        let folder = ModelFolder::open(&self.model)?;
        let replaceable =
            [(WeightPart::UNet, "unet", self.unet.is_some()), (WeightPart::Vae, "vae", self.vae.is_some())];
        let text =
            profile.text_encoders.iter().enumerate().map(|(place, traits)| {
                (WeightPart::TextEncoder, traits.encoder, self.text.contains_key(&place))
            });
        for (part, component, replaced) in replaceable.into_iter().chain(text) {
            let component = if replaced { None } else { folder.component(component)? };
            for file in component.map(|part| part.weight_files(variant)).transpose()?.unwrap_or_default() {
                hashing.start(part.clone(), &self.name, &file, None);
            }
        }
        Ok(())
    }
}

/// Starts to hash what is read of a refiner: its file, or its UNet and its text encoders.
fn hash_refiner(
    location: &Location,
    profile: &Profile,
    variant: &Variant,
    hashing: &mut Hashing,
) -> Result<(), Error> {
    let name = name(location);
    if location.is_file() {
        hashing.start(WeightPart::Refiner, &name, location, None);
        return Ok(());
    }
    let folder = ModelFolder::open(location)?;
    for component in std::iter::once("unet").chain(profile.text_encoders.iter().map(|traits| traits.encoder))
    {
        let component = folder.component(component)?;
        for file in component.map(|part| part.weight_files(variant)).transpose()?.unwrap_or_default() {
            hashing.start(WeightPart::Refiner, &name, &file, None);
        }
    }
    Ok(())
}

/// A component's weight files, or the file itself.
fn files(location: &Location, variant: &Variant) -> Result<Vec<Location>, Error> {
    match location.is_dir() {
        true => Ok(Component::open(location)?.weight_files(variant)?),
        false => Ok(vec![location.clone()]),
    }
}

/// What the user knows a location by; for what is in a tree, where it is among the files of the tree's name.
fn name(location: &Location) -> String {
    match location.in_tree() {
        None => name_on_disk(location),
        Some((tree, "")) => tree.name().into(),
        Some((tree, path)) => {
            let names = [tree.name(), path.trim_end_matches(".safetensors")];
            names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/")
        }
    }
}

/// The repository's name for a folder in the hub's cache, else a path's last part, without an extension where it is a
/// file's.
fn name_on_disk(location: &Location) -> String {
    let (path, is_folder) = (location.as_path(), location.is_dir());
    let last = path.and_then(|path| if is_folder { path.file_name() } else { path.file_stem() });
    let cached = || {
        let snapshots = path.filter(|_| is_folder)?.parent()?;
        let folder =
            snapshots.parent().filter(|_| snapshots.ends_with("snapshots"))?.file_name()?.to_str()?;
        Some(folder.strip_prefix("models--")?.replace("--", "/"))
    };
    cached().or_else(|| Some(last?.to_string_lossy().into_owned())).unwrap_or_else(|| location.to_string())
}

/// Files being hashed, each on a thread of its own: gigabytes take seconds, and loading and drawing need not wait. Where
/// there are no threads, as in a browser, they are hashed when the hashes are asked for.
#[derive(Debug)]
pub struct Hashing {
    files: Vec<Started>,
}

/// A file without its hashes, and who is after them.
#[derive(Debug)]
struct Started {
    file: WeightFile,
    location: Location,
    thread: Option<JoinHandle<Result<Hashes, Core>>>,
}

/// Of a file: all of it, and for a LoRA what follows its header.
type Hashes = (String, Option<String>);

impl Hashing {
    /// Waits for the hashes: the model's, those of what replaces or guides its parts, the LoRAs' in their order.
    ///
    /// # Errors
    /// [`Error::Weights`] for a file that can no longer be read.
    ///
    /// # Panics
    /// If a hashing thread panicked, which would be a fault of hypersd or of a [`ByteSource`](crate::ByteSource).
    pub fn finish(self) -> Result<Vec<WeightFile>, Error> {
        let hashed = |Started { file, location, thread }| {
            let (sha256, tensors_sha256) = match thread {
                Some(thread) => thread.join().expect("hashing does not panic")?,
                None => hashes(&location, file.part == WeightPart::Lora)?,
            };
            Ok(WeightFile { sha256, tensors_sha256, ..file })
        };
        self.files.into_iter().map(hashed).collect()
    }

    fn start(&mut self, part: WeightPart, name: &str, location: &Location, weight: Option<f32>) {
        let is_lora = part == WeightPart::Lora;
        let file = WeightFile { weight, ..WeightFile::new(part, name, "") };
        let (location, owned) = (location.clone(), location.clone());
        let thread = thread::Builder::new().name("hash".into()).spawn(move || hashes(&owned, is_lora)).ok();
        self.files.push(Started { file, location, thread });
    }
}

/// The hub's cache calls a large file by its SHA-256, which its clients make sure of.
fn cached_sha256(location: &Location) -> Option<String> {
    let blob = location.real_path()?;
    let name = blob.file_name()?.to_str()?;
    let is_blob = blob.parent()?.ends_with("blobs") && name.len() == 64;
    (is_blob && name.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))).then(|| name.to_string())
}

fn hashes(location: &Location, is_lora: bool) -> Result<Hashes, Core> {
    let io = |error| location.io(error);
    let tensors = match is_lora {
        true => {
            let tensors = tensors(location.reader()?).map_err(io)?;
            Some(shortened(sha256(tensors).map_err(io)?, TENSOR_DIGITS))
        }
        false => None,
    };
    let whole = match cached_sha256(location) {
        Some(known) => known,
        None => sha256(location.reader()?).map_err(io)?,
    };
    Ok((shortened(whole, FILE_DIGITS), tensors))
}

/// What follows the header of a safetensors file, whose first 8 bytes say how long the header is.
fn tensors(mut file: impl Read) -> io::Result<impl Read> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    io::copy(&mut file.by_ref().take(u64::from_le_bytes(length)), &mut io::sink())?;
    Ok(file)
}

fn shortened(mut digits: String, length: usize) -> String {
    digits.truncate(length);
    digits
}
