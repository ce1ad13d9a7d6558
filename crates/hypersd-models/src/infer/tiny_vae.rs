//! What the shapes of a tiny VAE say of it.

use std::collections::BTreeMap;

use hypersd_core::TensorSource;

use super::Shapes;
use crate::{Error, tiny_vae::TinyVaeConfig};

/// The configuration of a tiny VAE.
pub(crate) fn tiny_vae(source: &dyn TensorSource) -> Result<TinyVaeConfig, Error> {
    let shapes = Shapes(source);
    let (encoder, decoder) = (blocks(source, "encoder"), blocks(source, "decoder"));
    let first = |half: &str, axis| shapes.extent(&format!("{half}.layers.0.weight"), axis);
    let last = last_convolution(source, "decoder");
    let config = TinyVaeConfig {
        in_channels: first("encoder", 1)?,
        out_channels: shapes.extent(&last, 0)?,
        latent_channels: first("decoder", 1)?,
        encoder_block_out_channels: vec![first("encoder", 0)?; encoder.len()],
        decoder_block_out_channels: vec![first("decoder", 0)?; decoder.len()],
        num_encoder_blocks: encoder,
        num_decoder_blocks: decoder,
        ..TinyVaeConfig::default()
    };
    config.validate()?;
    Ok(config)
}

/// The layers of one half that have weights, in order: whether each is a convolution rather than a block.
fn layers(source: &dyn TensorSource, half: &str) -> BTreeMap<usize, bool> {
    let prefix = format!("{half}.layers.");
    let layer = |name: String| {
        let (index, part) = name.strip_prefix(&prefix)?.split_once('.')?;
        Some((index.parse().ok()?, !part.starts_with("conv.")))
    };
    source.names().into_iter().filter_map(layer).collect()
}

fn last_convolution(source: &dyn TensorSource, half: &str) -> String {
    let last = layers(source, half).into_iter().filter(|(_, is_conv)| *is_conv).map(|(index, _)| index).max();
    format!("{half}.layers.{}.weight", last.unwrap_or_default())
}

/// The blocks of each level. A level begins with a convolution; the last convolution follows on the last level.
fn blocks(source: &dyn TensorSource, half: &str) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::new();
    for is_conv in layers(source, half).into_values() {
        match levels.last_mut() {
            Some(blocks) if !is_conv => *blocks += 1,
            _ => levels.push(0),
        }
    }
    levels.pop();
    levels
}
