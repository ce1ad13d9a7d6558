//! A configuration from the names and shapes of the weights, for files that come without one.

use hypersd_core::{Error as CoreError, TensorSource};
use hypersd_models::unet::{PerLevel, UNetConfig};

use super::{ControlNetConfig, per_level, with_up_blocks};
use crate::error::Error;

impl ControlNetConfig {
    /// Reads the configuration off the weights, under diffusers' names.
    ///
    /// Shapes do not say everything. The rest is as in all published ControlNets: 32 groups, 8 heads where
    /// projections are convolutions (SD1.5) and heads of 64 where they are dense (SDXL), RGB, no pooling.
    ///
    /// # Errors
    /// [`Unsupported`](CoreError::Unsupported) for a ControlNet-Union, a ControlNet-XS, a Control-LoRA and other
    /// networks of like names; [`Format`](CoreError::Format) where a tensor is missing or has too few axes.
    pub fn infer(source: &dyn TensorSource) -> Result<Self, Error> {
        refuse_other_networks(source)?;
        let weights = Weights(source);
        let levels = weights.count(|i| format!("down_blocks.{i}.resnets.0.conv1.weight"));
        let channels = (0..levels)
            .map(|i| weights.extent(&format!("down_blocks.{i}.resnets.0.conv1.weight"), 0))
            .collect::<Result<Vec<_>, _>>()?;
        let layers = (0..levels)
            .map(|i| weights.count(|j| format!("down_blocks.{i}.resnets.{j}.conv1.weight")))
            .collect();
        let attends = (0..levels).map(|i| weights.has(&format!("down_blocks.{i}.attentions.0.norm.weight")));
        let types = attends.map(|attends| if attends { "CrossAttnDownBlock2D" } else { "DownBlock2D" });
        let linear = weights.axes("mid_block.attentions.0.proj_in.weight")? == 2;
        let heads = if linear {
            PerLevel::Each(channels.iter().map(|c| (c / 64).max(1)).collect())
        } else {
            PerLevel::All(8)
        };
        let added = weights.has("add_embedding.linear_1.weight");
        let added = added.then(|| weights.extent("add_embedding.linear_1.weight", 1)).transpose()?;
        let unet = UNetConfig {
            in_channels: weights.extent("conv_in.weight", 1)?,
            down_block_types: types.map(String::from).collect(),
            layers_per_block: per_level(layers),
            cross_attention_dim: PerLevel::All(weights.context_width(added.is_some())?),
            attention_head_dim: heads,
            transformer_layers_per_block: per_level(weights.depths(levels)),
            use_linear_projection: linear,
            addition_embed_type: added.map(|_| "text_time".into()),
            addition_time_embed_dim: added.map(|_| 256),
            projection_class_embeddings_input_dim: added,
            block_out_channels: channels,
            ..UNetConfig::default()
        };
        let config = Self {
            unet: with_up_blocks(unet),
            conditioning_channels: weights.extent("controlnet_cond_embedding.conv_in.weight", 1)?,
            conditioning_embedding_out_channels: weights.hint_channels()?,
            ..Self::default()
        };
        config.validate()?;
        Ok(config)
    }
}

/// What the names and shapes of a source tell.
struct Weights<'a>(&'a dyn TensorSource);

impl Weights<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.info(name).is_some()
    }

    /// How many names there are, counted from 0 until one is missing.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&i| self.has(&name(i))).count()
    }

    fn axes(&self, name: &str) -> Result<usize, Error> {
        self.shape(name).map(|shape| shape.len())
    }

    fn extent(&self, name: &str, axis: usize) -> Result<usize, Error> {
        let shape = self.shape(name)?;
        let expected = || format!("at least {} axes", axis + 1);
        let found = || self.fault(name, expected(), format!("the shape {shape:?}"));
        shape.get(axis).copied().ok_or_else(found)
    }

    fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        let missing = || self.fault(name, "a tensor, as in every ControlNet".into(), "none".into());
        self.0.info(name).map(|info| info.shape).ok_or_else(missing)
    }

    fn fault(&self, name: &str, expected: String, found: String) -> Error {
        CoreError::Format { origin: format!("{}: {name}", self.0.origin()), expected, found }.into()
    }

    /// Transformer blocks of each level's attention sites. The middle block goes by the last level.
    fn depths(&self, levels: usize) -> Vec<usize> {
        let depth = |site: String| self.count(|k| format!("{site}.transformer_blocks.{k}.norm1.weight"));
        let mut depths: Vec<_> =
            (0..levels).map(|i| depth(format!("down_blocks.{i}.attentions.0"))).collect();
        if let Some(last) = depths.last_mut() {
            *last = depth("mid_block.attentions.0".into());
        }
        depths
    }

    /// Width of the token embeddings. SDXL's small ControlNet never looks at them.
    fn context_width(&self, added: bool) -> Result<usize, Error> {
        match self.0.names().iter().find(|name| name.ends_with(".attn2.to_k.weight")) {
            Some(name) => self.extent(name, 1),
            None => Ok(if added { 2048 } else { 768 }),
        }
    }

    /// Of the first convolution and of those that halve the image, which are every other one.
    fn hint_channels(&self) -> Result<Vec<usize>, Error> {
        let block = |i: usize| format!("controlnet_cond_embedding.blocks.{i}.weight");
        let halving = (1..self.count(block)).step_by(2).map(block);
        let first = "controlnet_cond_embedding.conv_in.weight".to_string();
        std::iter::once(first).chain(halving).map(|name| self.extent(&name, 0)).collect()
    }
}

/// Part of a name, the network that has it, what to take instead.
const OTHER_NETWORKS: &[(&str, &str, &str)] = &[
    ("task_embedding", "a ControlNet-Union", "take a ControlNet for one kind of control image"),
    ("control_add_embedding.", "a ControlNet-Union", "take a ControlNet for one kind of control image"),
    ("base_to_ctrl.", "a ControlNet-XS", "take a ControlNet"),
    ("ctrl_to_base.", "a ControlNet-XS", "take a ControlNet"),
    ("lora_controlnet", "a Control-LoRA", "take the complete ControlNet that it was made from"),
    ("lllite_unet", "a ControlNet-LLLite", "take a ControlNet"),
    ("adapter.body.", "a T2I-Adapter", "take a ControlNet"),
    ("difference", "the difference of a ControlNet to its UNet", "take the complete ControlNet"),
];

/// Networks that are called ControlNet, or are offered beside them, and are something else.
fn refuse_other_networks(source: &dyn TensorSource) -> Result<(), CoreError> {
    let names = source.names();
    for &(part, found, instead) in OTHER_NETWORKS {
        if names.iter().any(|name| name.contains(part)) {
            let (origin, found, instead) = (source.origin(), found.to_string(), instead.to_string());
            return Err(CoreError::Unsupported { origin, found, instead });
        }
    }
    Ok(())
}
