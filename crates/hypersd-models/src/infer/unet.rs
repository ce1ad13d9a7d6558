//! What the shapes of a UNet, or of the encoder half that a ControlNet is, say of it.

use hypersd_core::{Family, TensorSource};

use super::Shapes;
use crate::{
    Error, Heads,
    unet::{PerLevel, UNetConfig},
};

/// Width of the sinusoid of one of the picture's numbers in all published models.
pub(crate) const NUMBER_WIDTH: usize = 256;

/// The configuration of a UNet. `number_width` is the width of the sinusoid of one of the picture's sizes, where the
/// network takes them; for an encoder half, the up blocks mirror the down blocks.
pub(crate) fn unet(
    source: &dyn TensorSource,
    heads: Heads,
    number_width: usize,
) -> Result<UNetConfig, Error> {
    let shapes = Shapes(source);
    let levels = shapes.count(|level| format!("down_blocks.{level}.resnets.0.conv1.weight"));
    let channels: Vec<usize> = (0..levels)
        .map(|level| shapes.extent(&format!("down_blocks.{level}.resnets.0.conv1.weight"), 0))
        .collect::<Result<_, _>>()?;
    let layers =
        (0..levels).map(|level| shapes.count(|n| format!("down_blocks.{level}.resnets.{n}.conv1.weight")));
    let told = told(&shapes)?;
    let config = UNetConfig {
        in_channels: shapes.extent("conv_in.weight", 1)?,
        out_channels: match shapes.has("conv_out.weight") {
            true => shapes.extent("conv_out.weight", 0)?,
            false => UNetConfig::default().out_channels,
        },
        down_block_types: (0..levels).map(|level| block_type("Down", attends_down(&shapes, level))).collect(),
        up_block_types: up_block_types(&shapes, levels),
        layers_per_block: compact(layers.collect()),
        attention_head_dim: match heads {
            Heads::Count(heads) => PerLevel::All(heads),
            Heads::Width(width) => compact(channels.iter().map(|c| (c / width).max(1)).collect()),
        },
        transformer_layers_per_block: compact(
            (0..levels).map(|level| depth(&shapes, level, levels)).collect(),
        ),
        addition_time_embed_dim: told.addition_embed_type.as_ref().map(|_| number_width),
        block_out_channels: channels,
        ..told
    };
    config.validate()?;
    Ok(config)
}

/// The family of a UNet, or of an encoder half, that stands alone.
pub(crate) fn family(source: &dyn TensorSource) -> Result<Family, Error> {
    Ok(told(&Shapes(source))?.family())
}

/// The part of a configuration that says how the network is told about its picture, and so of which family it is.
fn told(shapes: &Shapes<'_>) -> Result<UNetConfig, Error> {
    let added = "add_embedding.linear_1.weight";
    let added = shapes.has(added).then(|| shapes.extent(added, 1)).transpose()?;
    Ok(UNetConfig {
        cross_attention_dim: PerLevel::All(context_width(shapes, added.is_some())?),
        use_linear_projection: shapes.rank("mid_block.attentions.0.proj_in.weight") == Some(2),
        addition_embed_type: added.map(|_| "text_time".to_string()),
        projection_class_embeddings_input_dim: added,
        ..UNetConfig::default()
    })
}

fn attends_down(shapes: &Shapes<'_>, level: usize) -> bool {
    shapes.has(&format!("down_blocks.{level}.attentions.0.norm.weight"))
}

fn up_block_types(shapes: &Shapes<'_>, levels: usize) -> Vec<String> {
    let attends = |block: usize| match shapes.has("up_blocks.0.resnets.0.conv1.weight") {
        true => shapes.has(&format!("up_blocks.{block}.attentions.0.norm.weight")),
        false => attends_down(shapes, levels - 1 - block),
    };
    (0..levels).map(|block| block_type("Up", attends(block))).collect()
}

fn block_type(way: &str, attends: bool) -> String {
    format!("{}{way}Block2D", if attends { "CrossAttn" } else { "" })
}

/// Transformer blocks of a level's attention sites; the middle block's are the last level's. A level without any
/// has diffusers' default.
fn depth(shapes: &Shapes<'_>, level: usize, levels: usize) -> usize {
    let site = match level + 1 == levels {
        true => "mid_block.attentions.0".to_string(),
        false => format!("down_blocks.{level}.attentions.0"),
    };
    match shapes.has(&format!("{site}.norm.weight")) {
        true => shapes.count(|n| format!("{site}.transformer_blocks.{n}.norm1.weight")),
        false => 1,
    }
}

/// Width of the token embeddings. Without any cross-attention (SDXL's small ControlNets) nothing reads them, and the
/// family's width stands.
fn context_width(shapes: &Shapes<'_>, is_sdxl: bool) -> Result<usize, Error> {
    let reader = |site: String| format!("{site}.transformer_blocks.0.attn2.to_k.weight");
    match Some(reader("mid_block.attentions.0".into())).filter(|name| shapes.has(name)) {
        Some(name) => shapes.extent(&name, 1),
        None => Ok(if is_sdxl { 2048 } else { 768 }),
    }
}

/// One number, where all levels have the same.
fn compact(numbers: Vec<usize>) -> PerLevel {
    match numbers.first() {
        Some(&first) if numbers.iter().all(|&n| n == first) => PerLevel::All(first),
        _ => PerLevel::Each(numbers),
    }
}
