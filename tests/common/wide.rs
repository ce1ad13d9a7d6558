//! The tiny models with a UNet of more channels in: for inpainting, and for InstructPix2Pix.

use std::{
    fs,
    path::{Path, PathBuf},
};

use hypersd_core::{SafetensorsFile, TensorSource, save_safetensors};
use hypersd_testing::{copy, fixtures, weights};

/// Writes the model of a family with the first convolution that `reference/pipelines_inpaint.py` gave its UNet, into a
/// folder of the given one.
pub(crate) fn wide_model(family: &str, channels: usize, into: &Path) -> PathBuf {
    let own = weights("").join(format!("tiny-{family}"));
    let model = into.join(format!("tiny-{family}-{channels}"));
    copy(&own, &model);

    let config = model.join("unet/config.json");
    let text = fs::read_to_string(&config).expect("a configuration");
    let wider = text.replace("\"in_channels\": 4", &format!("\"in_channels\": {channels}"));
    assert_ne!(text, wider);
    fs::write(config, wider).expect("a configuration");

    const FILE: &str = "unet/diffusion_pytorch_model.safetensors";
    let unet = SafetensorsFile::open(own.join(FILE)).expect("the UNet");
    let first = fixtures("").join("pipelines-inpaint/conv_in.safetensors");
    let first = SafetensorsFile::open(first).expect("the first convolutions");
    let tensors: Vec<_> = unet
        .names()
        .into_iter()
        .map(|name| {
            let tensor = match name.as_str() {
                "conv_in.weight" => first.tensor(&format!("{family}.{channels}")),
                _ => unet.tensor(&name),
            };
            (name, tensor.expect("a tensor"))
        })
        .collect();
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    save_safetensors(model.join(FILE), tensors).expect("written");
    model
}
