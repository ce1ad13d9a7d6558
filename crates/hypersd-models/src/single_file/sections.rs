//! Where the networks are in a single file, and in which dialect.

use std::{collections::BTreeSet, sync::Arc};

use hypersd_core::{Family, SharedSource, TensorSource};

use super::family::is_ignored;
use crate::{Error, clip::HiddenAct, keys};

/// A network's place in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    /// What its names begin with.
    prefix: &'static str,
    /// The name, after the prefix, by which it is known to be there.
    known_by: &'static str,
    pub(super) network: Network,
    dialect: Dialect,
    /// The family, where the place says it.
    pub(super) family: Option<Family>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    UNet,
    ControlNet,
    Vae,
    TinyVae,
    /// The activation, and the encoder's place in the family.
    TextEncoder(HiddenAct, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Own,
    OldDiffusers,
    Ldm,
    Transformers {
        bare: bool,
    },
    OpenClip {
        /// Layers at its end that nothing reads: SD2.x conditions on the last state but one.
        unread: usize,
    },
}

/// Every place, the ones with a prefix first: one without takes all names that are left.
const PLACES: &[Section] = &{
    use Dialect::{Ldm, OldDiffusers, OpenClip, Own, Transformers};
    use HiddenAct::{Gelu, QuickGelu};
    use Network::{ControlNet, TextEncoder, TinyVae, UNet, Vae};

    const fn at(prefix: &'static str, known_by: &'static str, network: Network, dialect: Dialect) -> Section {
        Section { prefix, known_by, network, dialect, family: None }
    }
    const fn of(family: Family, place: Section) -> Section {
        Section { family: Some(family), ..place }
    }
    const SD1_TEXT: &str = "cond_stage_model.transformer.";
    const SDXL_TEXT: &str = "conditioner.embedders.0.transformer.";
    const SDXL_TEXT_2: &str = "conditioner.embedders.1.transformer.";
    const TOKENS: &str = "text_model.embeddings.token_embedding.weight";
    const BARE_TOKENS: &str = "embeddings.token_embedding.weight";
    const OPEN_CLIP_TOKENS: &str = "token_embedding.weight";
    const LDM_VAE: &str = "encoder.down.0.block.0.conv1.weight";
    const OWN_VAE: &str = "encoder.down_blocks.0.resnets.0.conv1.weight";
    const LDM_UNET: &str = "input_blocks.0.0.weight";
    const LDM_CONTROLNET: &str = "input_hint_block.0.weight";
    [
        of(Family::Sd1, at(SD1_TEXT, TOKENS, TextEncoder(QuickGelu, 0), Transformers { bare: false })),
        of(Family::Sd1, at(SD1_TEXT, BARE_TOKENS, TextEncoder(QuickGelu, 0), Transformers { bare: true })),
        of(
            Family::Sd2,
            at("cond_stage_model.model.", OPEN_CLIP_TOKENS, TextEncoder(Gelu, 0), OpenClip { unread: 1 }),
        ),
        of(Family::Sdxl, at(SDXL_TEXT, TOKENS, TextEncoder(QuickGelu, 0), Transformers { bare: false })),
        of(Family::Sdxl, at(SDXL_TEXT, BARE_TOKENS, TextEncoder(QuickGelu, 0), Transformers { bare: true })),
        of(
            Family::Sdxl,
            at(
                "conditioner.embedders.1.model.",
                OPEN_CLIP_TOKENS,
                TextEncoder(Gelu, 1),
                OpenClip { unread: 0 },
            ),
        ),
        of(
            Family::SdxlRefiner,
            at(
                "conditioner.embedders.0.model.",
                OPEN_CLIP_TOKENS,
                TextEncoder(Gelu, 0),
                OpenClip { unread: 0 },
            ),
        ),
        of(Family::Sdxl, at(SDXL_TEXT_2, TOKENS, TextEncoder(Gelu, 1), Transformers { bare: false })),
        at("first_stage_model.", LDM_VAE, Vae, Ldm),
        at("first_stage_model.", OWN_VAE, Vae, OldDiffusers),
        at("vae.", LDM_VAE, Vae, Ldm),
        at("vae.", OWN_VAE, Vae, OldDiffusers),
        at("control_model.", LDM_CONTROLNET, ControlNet, Ldm),
        at("model.diffusion_model.", LDM_UNET, UNet, Ldm),
        at("", LDM_CONTROLNET, ControlNet, Ldm),
        at("", "controlnet_cond_embedding.conv_in.weight", ControlNet, Own),
        at("", LDM_UNET, UNet, Ldm),
        at("", "time_embedding.linear_1.weight", UNet, Own),
        at("", LDM_VAE, Vae, Ldm),
        at("", OWN_VAE, Vae, OldDiffusers),
        at("", "encoder.layers.0.weight", TinyVae, Own),
    ]
};

/// The places that are in a file. What belongs to a place is taken out of `names`.
pub(super) fn sections(
    source: &SharedSource,
    names: &mut BTreeSet<String>,
) -> Result<Vec<(Section, SharedSource)>, Error> {
    let mut found: Vec<(Section, SharedSource)> = Vec::new();
    for place in PLACES {
        if names.contains(&format!("{}{}", place.prefix, place.known_by)) {
            let own: Vec<String> = names.extract_if(.., |name| place.has(name)).collect();
            found.push((*place, place.canonical(source, own)?));
        }
    }
    Ok(found)
}

/// True for a name in the place of a network that these know, so that it belongs to one, or to nothing that is known.
pub(super) fn is_in_a_place(name: &str) -> bool {
    PLACES.iter().any(|place| !place.prefix.is_empty() && name.starts_with(place.prefix))
}

/// A text encoder alone in a file: its tensors under canonical names. `None` where there is none.
pub(super) fn text_encoder_alone(source: &SharedSource) -> Result<Option<SharedSource>, Error> {
    const DIALECTS: [(&str, Dialect); 3] = [
        ("text_model.embeddings.token_embedding.weight", Dialect::Transformers { bare: false }),
        ("embeddings.token_embedding.weight", Dialect::Transformers { bare: true }),
        ("token_embedding.weight", Dialect::OpenClip { unread: 0 }),
    ];
    let Some((known_by, dialect)) = DIALECTS.into_iter().find(|(name, _)| source.info(name).is_some()) else {
        return Ok(None);
    };
    let network = Network::TextEncoder(HiddenAct::Gelu, 0); // the dialect alone decides about names
    let alone = Section { prefix: "", known_by, network, dialect, family: None };
    let names = source.names().into_iter().filter(|name| !is_ignored(name)).collect();
    alone.canonical(source, names).map(Some)
}

impl Network {
    /// True where it is a UNet, whole or half.
    pub(super) fn is_unet(self) -> bool {
        matches!(self, Self::UNet | Self::ControlNet)
    }
}

impl Section {
    /// True for a name in this place. Where names have no prefix, what training leaves behind is in none.
    fn has(&self, name: &str) -> bool {
        const STRAY: [&str; 7] =
            ["lora_", "ema.", "ema_", "model_ema.", "optimizer", "cond_stage_model.", "conditioner."];
        match self.prefix {
            "" => name.contains('.') && !STRAY.iter().any(|stray| name.starts_with(stray)),
            prefix => name.starts_with(prefix),
        }
    }

    /// The section's tensors under the network's names.
    fn canonical(&self, source: &SharedSource, mut names: Vec<String>) -> Result<SharedSource, Error> {
        let has = |name: &str| source.info(&format!("{}{name}", self.prefix)).is_some();
        let table = match (self.dialect, self.network) {
            (Dialect::Own, _) => keys::own(),
            (Dialect::OldDiffusers, _) => keys::vae::old_diffusers(),
            (Dialect::Ldm, Network::Vae) => keys::vae::ldm(&keys::vae::Layout::read(has)),
            (Dialect::Ldm, Network::ControlNet) => keys::controlnet::ldm(&keys::unet::Layout::read(has)),
            (Dialect::Ldm, _) => keys::unet::ldm(&keys::unet::Layout::read(has)),
            (Dialect::Transformers { bare }, _) => keys::clip::transformers(bare),
            (Dialect::OpenClip { unread }, _) => {
                let mut layout = keys::open_clip::Layout::read(has);
                for layer in layout.layers.saturating_sub(unread)..layout.layers {
                    let unread = format!("{}transformer.resblocks.{layer}.", self.prefix);
                    names.retain(|name| !name.starts_with(&unread));
                }
                layout.layers = layout.layers.saturating_sub(unread);
                keys::open_clip::open_clip(&layout)
            }
        };
        Ok(Arc::new(table.apply(source, self.prefix, names)?))
    }
}
