//! What the layers of a network multiply, and which of them are spared.

use burn::tensor::Device;
use hypersd_core::{Products, SlotList, Slots, name_matches};
#[cfg(feature = "flex")]
use hypersd_kernels::has_bf16_products;

use crate::backend::is_flex;

/// Parameters, as patterns of their names, of layers that multiply f32 whatever the rest does, each with its reason.
const SPARED: &[(&str, &str)] = &[
    ("*conv_in.*", "reads few channels, which takes no time, and all that follows is made of what it gives"),
    ("*conv_out.*", "its error is the picture's or the prediction's own"),
    ("*quant_conv.*", "four channels"),
    ("*time_embedding.*", "one row of a step, which shifts every feature map"),
    ("*add_embedding.*", "as the time's"),
    ("*time_emb_proj.*", "one row: it reads its weights once, whatever it multiplies"),
    ("controlnet_cond_embedding.*", "few channels of a picture with edges, once for all steps"),
    (
        "controlnet_down_blocks.*",
        "what it gives is added to the UNet's feature maps, most of it nearly nothing",
    ),
    ("controlnet_mid_block.*", "as those of its other blocks"),
];

/// True where layers on a device multiply such numbers, once weights are in a type that allows it: int8 on every CPU, bf16 on
/// those that multiply it faster than f32.
#[must_use]
pub fn multiplies(products: Products, device: &Device) -> bool {
    match products {
        #[cfg(feature = "flex")]
        Products::Bf16 => is_flex(device) && has_bf16_products(),
        Products::Int8 => is_flex(device),
        _ => products == Products::F32,
    }
}

/// A network whose layers, those that are spared aside, multiply such numbers on the CPU once it is
/// [loaded](hypersd_core::load). GPUs do not mind.
#[must_use]
pub fn multiply_in<N: Slots>(mut network: N, products: Products) -> N {
    for (name, mut slot) in SlotList::of(&mut network) {
        let spared = SPARED.iter().any(|(pattern, _)| name_matches(pattern, &name));
        slot.multiply_in(if spared { Products::F32 } else { products });
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of the two families' networks as their files have them.
    #[test]
    fn ends_of_networks_are_spared_and_blocks_are_not() {
        let spared = |name: &str| SPARED.iter().any(|(pattern, _)| name_matches(pattern, name));
        for name in [
            "conv_in.weight",
            "conv_out.weight",
            "decoder.conv_out.weight",
            "post_quant_conv.weight",
            "time_embedding.linear_1.weight",
            "add_embedding.linear_2.weight",
            "down_blocks.0.resnets.1.time_emb_proj.weight",
            "controlnet_down_blocks.3.weight",
        ] {
            assert!(spared(name), "{name}");
        }
        for name in [
            "down_blocks.0.resnets.1.conv1.weight",
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
            "up_blocks.1.upsamplers.0.conv.weight",
            "decoder.up_blocks.3.resnets.2.conv2.weight",
        ] {
            assert!(!spared(name), "{name}");
        }
    }
}
