//! hypersd's networks, each by itself, on inputs of the right shapes.

use std::{any::Any, fmt::Debug, path::Path, sync::Arc};

use burn::tensor::{DType, TensorData};
use hypersd::{Device, FloatDType, Image, Products, Rng, Strength, Tensor};
use hypersd_controlnet::{ControlNet, ControlNetConfig, control_pixels};
use hypersd_core::{Component, LoadOptions, Noise, Renamed, Slots, Variant, load};
use hypersd_models::{
    clip::{ClipTextConfig, ClipTextModel, IGNORED_TENSORS, canonical_names},
    multiply_in,
    tiny_vae::{self, TinyVaeConfig},
    unet::{Conditioning, Context, UNet, UNetConfig},
    vae::{self, VaeConfig},
};
use serde::de::DeserializeOwned;

use crate::{Dtype, Task};

/// What a stage does each time; what it made is dropped when the time has been taken.
pub(crate) type Run<'a> = Box<dyn FnMut() -> Box<dyn Any> + 'a>;

/// The timestep of the first of one step.
const T: &[f32] = &[999.0];

/// All of the model's text encoders.
pub(crate) fn text(task: &Task) -> Run<'_> {
    let folders = ["text_encoder", "text_encoder_2"].map(|name| task.model.join(name));
    let encoders: Vec<_> =
        folders.iter().filter(|folder| folder.is_dir()).map(|folder| encoder(folder, task)).collect();
    let ids = vec![vec![1; 77]; task.batch()];
    Box::new(move || {
        let states = encoders.iter().map(|encoder| encoder.forward(&ids).expect("states"));
        Box::new(states.collect::<Vec<_>>())
    })
}

pub(crate) fn unet(task: &Task) -> Run<'_> {
    let unet = denoiser(task);
    let (x, conditioning) = (latents(task), conditioning(task, unet.config()));
    Box::new(move || Box::new(unet.forward(x.clone(), T, &conditioning, None).expect("a prediction")))
}

/// The UNet after the ControlNet, which has seen its image before the first step.
pub(crate) fn control(task: &Task) -> Run<'_> {
    let folder = task.controlnet.as_ref().expect("--controlnet");
    let controlnet = network::<ControlNetConfig, _, _>(folder, task, ControlNet::new);
    let unet = denoiser(task);
    let pixels = control_pixels(&stripes(task.size), [task.size; 2], &task.device()).expect("pixels");
    let hint = controlnet.hint(pixels).expect("a hint");
    let (x, conditioning) = (latents(task), conditioning(task, unet.config()));
    Box::new(move || {
        let residuals =
            controlnet.forward(x.clone(), T, &conditioning, &hint, Strength::default().residual_scale());
        let residuals = residuals.expect("residuals");
        Box::new(unet.forward(x.clone(), T, &conditioning, Some(&residuals)).expect("a prediction"))
    })
}

pub(crate) fn vae(task: &Task) -> Run<'_> {
    let (options, products) = beside(task, vae::Decoder::OTHER_HALF);
    let vae =
        network_with::<VaeConfig, _, _>(&task.model.join("vae"), (&options, products), vae::Decoder::new);
    let x = latents(task);
    Box::new(move || Box::new(vae.decode(x.clone()).expect("pixels")))
}

/// A picture through the encoder that comes with the model.
pub(crate) fn encode(task: &Task) -> Run<'_> {
    let (options, products) = beside(task, vae::Encoder::OTHER_HALF);
    let vae =
        network_with::<VaeConfig, _, _>(&task.model.join("vae"), (&options, products), vae::Encoder::new);
    let x = normal(task, [task.batch(), 3, task.size, task.size]);
    Box::new(move || Box::new(vae.encode(x.clone()).expect("latents").mode()))
}

pub(crate) fn taesd(task: &Task) -> Run<'_> {
    let folder = task.taesd.as_ref().expect("--taesd");
    let (options, products) = beside(task, tiny_vae::Decoder::OTHER_HALF);
    let vae = network_with::<TinyVaeConfig, _, _>(folder, (&options, products), tiny_vae::Decoder::new);
    let x = latents(task);
    Box::new(move || Box::new(vae.decode(x.clone()).expect("pixels")))
}

fn denoiser(task: &Task) -> UNet {
    network::<UNetConfig, _, _>(&task.model.join("unet"), task, UNet::new)
}

/// Whether the pipeline decodes in f32 although it computes in f16: for SDXL on a GPU.
fn upcasts_vae(task: &Task) -> bool {
    task.device.is_some() && matches!(task.dtype, Dtype::F16) && is_sdxl(task)
}

fn is_sdxl(task: &Task) -> bool {
    task.model.join("text_encoder_2").is_dir()
}

/// A UNet or a ControlNet in a folder, built by `new` and loaded.
fn network<C: DeserializeOwned, M: Slots, E: Debug>(
    folder: &Path,
    task: &Task,
    new: fn(&C, &Device) -> Result<M, E>,
) -> M {
    network_with(folder, (&options(task), task.dtype.products()), new)
}

/// Where text encoders and VAEs are, and what they multiply.
fn beside(task: &Task, ignore: &'static [&'static str]) -> (LoadOptions, Products) {
    let device = task.device();
    let dtype = task.dtype.beside(&device);
    let stored = if upcasts_vae(task) { FloatDType::F32 } else { dtype.into() };
    (LoadOptions { device, dtype: stored, ignore }, dtype.products())
}

fn network_with<C: DeserializeOwned, M: Slots, E: Debug>(
    folder: &Path,
    (options, products): (&LoadOptions, Products),
    new: fn(&C, &Device) -> Result<M, E>,
) -> M {
    let component = Component::open(folder).expect("a component");
    let module = new(&component.config().expect("a configuration"), &options.device).expect("a network");
    let source = component.weights(&Variant::Default).expect("weights");
    load(multiply_in(module, products), &*source, options).expect("weights that fit")
}

fn encoder(folder: &Path, task: &Task) -> ClipTextModel {
    let (options, products) = beside(task, IGNORED_TENSORS);
    let component = Component::open(folder).expect("a component");
    let config: ClipTextConfig = component.config().expect("a configuration");
    let source = component.weights(&Variant::Default).expect("weights");
    let names = canonical_names(source.names());
    let source = Renamed::new(Arc::clone(&source), names).expect("names");
    let module = ClipTextModel::new(&config, &options.device).expect("a network");
    load(multiply_in(module, products), &source, &options).expect("weights that fit")
}

fn options(task: &Task) -> LoadOptions {
    LoadOptions { device: task.device(), dtype: task.dtype.into(), ignore: &[] }
}

fn conditioning(task: &Task, unet: &UNetConfig) -> Conditioning {
    let (batch, side) = (task.batch(), task.size as f32);
    let context = Context::text(normal(task, [batch, 77, unet.cross_attention_dim.at(0)]));
    let conditioning = Conditioning::new(context);
    if !is_sdxl(task) {
        return conditioning;
    }
    let time_ids = vec![vec![side, side, 0.0, 0.0, side, side]; batch];
    conditioning.with_added(normal(task, [batch, 1280]), time_ids)
}

fn latents(task: &Task) -> Tensor<4> {
    normal(task, [task.batch(), 4, task.size / 8, task.size / 8])
}

fn normal<const D: usize>(task: &Task, shape: [usize; D]) -> Tensor<D> {
    let noise = Noise::new(Rng::TorchCpu, 0).normal(&shape).to_f32().into_owned();
    Tensor::from_data(TensorData::new(noise, shape), (&task.device(), DType::F32))
}

/// A picture for a ControlNet, or to start from: it takes as long whatever it is shown.
pub(crate) fn stripes(side: usize) -> Image {
    let pixels = (0..side * side).flat_map(|i| [if i % 16 == 0 { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(side, side, pixels).expect("three bytes for each pixel")
}
