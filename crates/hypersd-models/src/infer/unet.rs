//! What the shapes of a UNet, or of the encoder half that a ControlNet is, say of it.

use hypersd_core::{Family, TensorSource};

use super::Shapes;
use crate::{
    Error, Heads,
    unet::{PerLevel, UNetConfig},
};

/// Width of the sinusoid of one of the picture's numbers in all published models.
pub(crate) const NUMBER_WIDTH: usize = 256;

/// The projection of the guidance scale's embedding, in networks that are told it.
const GUIDANCE: &str = "time_embedding.cond_proj.weight";

/// Levels that a UNet may have.
const MOST_LEVELS: usize = 8;

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
    let depths = Depths::of(&shapes, levels);
    let config = UNetConfig {
        in_channels: shapes.extent("conv_in.weight", 1)?,
        out_channels: match shapes.has("conv_out.weight") {
            true => shapes.extent("conv_out.weight", 0)?,
            false => UNetConfig::default().out_channels,
        },
        down_block_types: (0..levels).map(|level| block_type("Down", attends_down(&shapes, level))).collect(),
        up_block_types: up_block_types(&shapes, levels),
        layers_per_block: PerLevel::compact(layers.map(|layers| vec![layers]).collect()),
        attention_head_dim: match heads {
            Heads::Count(heads) => PerLevel::All(heads),
            Heads::Width(width) => {
                PerLevel::compact(channels.iter().map(|c| vec![(c / width).max(1)]).collect())
            }
        },
        transformer_layers_per_block: PerLevel::compact(depths.down),
        reverse_transformer_layers_per_block: depths.up.map(PerLevel::compact),
        mid_block_type: mid_block_type(&shapes),
        time_cond_proj_dim: shapes.has(GUIDANCE).then(|| shapes.extent(GUIDANCE, 1)).transpose()?,
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
        use_linear_projection: first_site(shapes)
            .is_some_and(|site| shapes.rank(&format!("{site}.proj_in.weight")) == Some(2)),
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

/// The middle block's class; none where there is no middle block.
fn mid_block_type(shapes: &Shapes<'_>) -> Option<String> {
    let class = match shapes.has("mid_block.attentions.0.norm.weight") {
        true => "UNetMidBlock2DCrossAttn",
        false => "UNetMidBlock2D",
    };
    shapes.has("mid_block.resnets.0.conv1.weight").then(|| class.into())
}

/// Transformer blocks of attention sites, by level and site.
struct Depths {
    /// On the way down, and in the middle.
    down: Vec<Vec<usize>>,
    /// On the way up, the smallest image first, where it is not the same.
    up: Option<Vec<Vec<usize>>>,
}

impl Depths {
    fn of(shapes: &Shapes<'_>, levels: usize) -> Self {
        let sites = |block: String| -> Vec<usize> {
            let site = |n: usize| format!("{block}.attentions.{n}");
            let count = shapes.count(|n| format!("{}.norm.weight", site(n)));
            (0..count)
                .map(|n| shapes.count(|i| format!("{}.transformer_blocks.{i}.norm1.weight", site(n))))
                .collect()
        };
        let found: Vec<_> = (0..levels).map(|level| sites(format!("down_blocks.{level}"))).collect();
        let up: Vec<_> = (0..levels).map(|block| sites(format!("up_blocks.{block}"))).collect();
        let mid = sites("mid_block".into());
        // A level that does not attend on its way down has the middle's or its way up's, or else diffusers' default.
        let down: Vec<Vec<usize>> = (0..levels)
            .map(|level| match (&found[level], &mid, &up[levels - 1 - level]) {
                (own, ..) if !own.is_empty() => own.clone(),
                (_, mid, _) if level + 1 == levels && !mid.is_empty() => mid.clone(),
                (_, _, up) if !up.is_empty() => vec![up[0]],
                _ => vec![1],
            })
            .collect();
        let mirrors = |(level, sites): (usize, &Vec<usize>)| {
            let up = &up[levels - 1 - level];
            sites.iter().chain(up).all(|depth| *depth == sites[0])
        };
        if down.iter().enumerate().all(mirrors) {
            return Self { down, up: None };
        }
        let up = up.into_iter().map(|sites| if sites.is_empty() { vec![1] } else { sites });
        Self { down, up: Some(up.collect()) }
    }
}

/// The first attention site with transformer blocks, from the middle outwards; none in a network without
/// cross-attention.
fn first_site(shapes: &Shapes<'_>) -> Option<String> {
    let level = |block: &'static str, level: usize| format!("{block}_blocks.{level}.attentions.0");
    let down = (0..MOST_LEVELS).rev().map(|n| level("down", n));
    let up = (0..MOST_LEVELS).map(|n| level("up", n));
    std::iter::once("mid_block.attentions.0".to_string())
        .chain(down)
        .chain(up)
        .find(|site| shapes.has(&format!("{site}.norm.weight")))
}

/// Width of the token embeddings. Without any cross-attention (SDXL's small ControlNets) nothing reads them, and the
/// family's width stands.
fn context_width(shapes: &Shapes<'_>, is_sdxl: bool) -> Result<usize, Error> {
    let reader = |block: &str, level: usize| {
        format!("{block}_blocks.{level}.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    };
    let mid = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight".to_string();
    let blocks = (0..MOST_LEVELS).flat_map(|level| [reader("down", level), reader("up", level)]);
    match std::iter::once(mid).chain(blocks).find(|name| shapes.has(name)) {
        Some(name) => shapes.extent(&name, 1),
        None => Ok(if is_sdxl { 2048 } else { 768 }),
    }
}
