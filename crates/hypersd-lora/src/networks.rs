//! The networks that LoRA files change, and all that a network's prefix stands for, in one table.

use std::iter::once;

use crate::weights::Weights;

/// One network of a model.
struct Network {
    /// The beginning of its modules' names in kohya's files.
    prefix: &'static str,
    /// The beginnings of its modules' names in other files.
    others: &'static [&'static str],
    /// Its name in reports.
    words: &'static str,
    /// The user's weight for it.
    weight: fn(&Weights) -> f32,
}

/// The [prefix](crate::Base::prefix) of the UNet, whose modules may go without any.
pub const UNET_PREFIX: &str = "lora_unet_";

/// The only text encoder of a model. Where there are two, PEFT calls the first of them the same; and newer scripts of kohya's
/// call the only one as the first of two.
const TEXT_ENCODER: Network = Network {
    prefix: "lora_te_",
    others: &["text_encoder.", "lora_te1_"],
    words: "text encoder",
    weight: |weights| weights.text_encoder,
};

static NETWORKS: [Network; 4] = [
    Network {
        prefix: UNET_PREFIX,
        others: &["lycoris_", "oft_unet_", "unet.", "diffusion_model."],
        words: "unet",
        weight: |weights| weights.unet,
    },
    TEXT_ENCODER,
    Network { prefix: "lora_te1_", words: "text encoder 1", ..TEXT_ENCODER },
    Network {
        prefix: "lora_te2_",
        others: &["text_encoder_2."],
        words: "text encoder 2",
        weight: |weights| weights.text_encoder_2,
    },
];

/// The beginnings of names for a network that no base has: the third text encoder of Stable Diffusion 3.
const ELSEWHERE: [&str; 2] = ["lora_te3_", "text_encoder_3."];

/// The beginning of a module's name and the prefixes of the networks that it may be for; `None` for a name that says
/// nothing of a network.
pub(crate) fn of_module(module: &str) -> Option<(&'static str, Vec<&'static str>)> {
    let known = NETWORKS.iter().flat_map(|network| once(&network.prefix).chain(network.others));
    let start = *known.chain(&ELSEWHERE).find(|start| module.starts_with(**start))?;
    let is_for = |network: &&Network| network.prefix == start || network.others.contains(&start);
    Some((start, NETWORKS.iter().filter(is_for).map(|network| network.prefix).collect()))
}

/// The name in reports of the network with this prefix.
pub(crate) fn words(prefix: &'static str) -> &'static str {
    of_prefix(prefix).map_or(prefix, |network| network.words)
}

/// The weight for the network with this prefix; one that is no text encoder's is the UNet's.
pub(crate) fn weight(weights: &Weights, prefix: &str) -> f32 {
    (of_prefix(prefix).unwrap_or(&NETWORKS[0]).weight)(weights)
}

fn of_prefix(prefix: &str) -> Option<&'static Network> {
    NETWORKS.iter().find(|network| network.prefix == prefix)
}
