//! What the shapes of a VAE say of it.

use hypersd_core::TensorSource;

use super::Shapes;
use crate::{Error, vae::VaeConfig};

/// The configuration of a VAE: `family`'s, in the shapes of the source.
pub(crate) fn vae(source: &dyn TensorSource, family: VaeConfig) -> Result<VaeConfig, Error> {
    let shapes = Shapes(source);
    let resnet =
        |level: usize, layer: usize| format!("encoder.down_blocks.{level}.resnets.{layer}.conv1.weight");
    let levels = shapes.count(|level| resnet(level, 0));
    let config = VaeConfig {
        in_channels: shapes.extent("encoder.conv_in.weight", 1)?,
        out_channels: shapes.extent("decoder.conv_out.weight", 0)?,
        latent_channels: shapes.extent("decoder.conv_in.weight", 1)?,
        block_out_channels: (0..levels)
            .map(|level| shapes.extent(&resnet(level, 0), 0))
            .collect::<Result<_, _>>()?,
        down_block_types: vec!["DownEncoderBlock2D".into(); levels],
        up_block_types: vec!["UpDecoderBlock2D".into(); levels],
        layers_per_block: shapes.count(|layer| resnet(0, layer)),
        use_quant_conv: shapes.has("quant_conv.weight"),
        use_post_quant_conv: shapes.has("post_quant_conv.weight"),
        mid_block_add_attention: shapes.has("decoder.mid_block.attentions.0.to_q.weight"),
        ..family
    };
    config.validate()?;
    Ok(config)
}
