//! Which family of models a file is of, by its names.

use std::collections::BTreeSet;

use hypersd_core::name_matches;

use crate::Error;

/// A tensor that a file may have and no network needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored {
    /// Its name; each `*` stands for any run of characters.
    pub pattern: &'static str,
    /// Why it is not needed.
    pub reason: &'static str,
}

/// Every tensor of a single file that is passed over.
pub const IGNORED: &[Ignored] = &{
    const fn ignored(pattern: &'static str, reason: &'static str) -> Ignored {
        Ignored { pattern, reason }
    }
    const NOISE: &str = "the noise schedule: it follows from the scheduler's configuration";
    const LOSS: &str = "only training needs it";
    const EMA: &str = "the running mean of the weights, beside the weights themselves";
    const CLIP: &str = "a constant, or of the half of CLIP that looks at pictures";
    const POOLED: &str = "SD1.x and SD2.x do not pool, and SDXL pools its second encoder only";
    [
        ignored("alphas_cumprod", NOISE),
        ignored("alphas_cumprod_prev", NOISE),
        ignored("betas", NOISE),
        ignored("sqrt_alphas_cumprod", NOISE),
        ignored("sqrt_one_minus_alphas_cumprod", NOISE),
        ignored("log_one_minus_alphas_cumprod", NOISE),
        ignored("sqrt_recip_alphas_cumprod", NOISE),
        ignored("sqrt_recipm1_alphas_cumprod", NOISE),
        ignored("posterior_variance", NOISE),
        ignored("posterior_log_variance_clipped", NOISE),
        ignored("posterior_mean_coef1", NOISE),
        ignored("posterior_mean_coef2", NOISE),
        ignored("denoiser.sigmas", NOISE),
        ignored("logvar", LOSS),
        ignored("lvlb_weights", LOSS),
        ignored("loss.*", LOSS),
        ignored("first_stage_model.loss.*", LOSS),
        ignored("scale_factor", "the VAE's scale, which is the family's"),
        ignored("model_ema.*", EMA),
        ignored("first_stage_model.model_ema.*", EMA),
        ignored("*position_ids", CLIP),
        ignored("*logit_scale", CLIP),
        ignored("*.attn_mask", CLIP),
        ignored("cond_stage_model.model.visual.*", CLIP),
        ignored("conditioner.embedders.1.model.visual.*", CLIP),
        ignored("conditioner.embedders.0.model.visual.*", CLIP),
        ignored("cond_stage_model.model.text_projection*", POOLED),
        ignored("cond_stage_model.transformer.text_projection.weight", POOLED),
        ignored("conditioner.embedders.0.transformer.text_projection.weight", POOLED),
        ignored(
            "embedding_manager.*",
            "words learned by textual inversion, which stand in files of their own",
        ),
    ]
};

/// Names by which a file is known that none of these networks can be loaded from: a pattern, the file's family, and
/// what to do instead.
const FOREIGN: &[(&str, &str, &str)] = &{
    const TEXT: &str = "give it as the text encoder of a model";
    [
        ("*double_blocks.*.img_attn.*", "FLUX", TAKE),
        ("*joint_blocks.*", "Stable Diffusion 3", TAKE),
        ("*.time_stack.*", "Stable Video Diffusion", TAKE),
        ("*motion_modules.*", "AnimateDiff", TAKE),
        ("*effnet_mapper.*", "Stable Cascade", TAKE),
        ("*clip_txt_mapper.*", "Stable Cascade", TAKE),
        ("edm_mean", "Playground v2.5 (its edm_mean and edm_std change the scale of latents)", TAKE),
        ("edm_std", "Playground v2.5 (its edm_mean and edm_std change the scale of latents)", TAKE),
        ("text_model.embeddings.*", "a text encoder alone", TEXT),
        ("embeddings.token_embedding.weight", "a text encoder alone", TEXT),
        ("emb_params", "a textual inversion", "take a model"),
        ("string_to_param*", "a textual inversion", "take a model"),
        ("lora_controlnet", "a Control-LoRA", "take a complete ControlNet"),
        ("*.base_to_ctrl.*", "ControlNet-XS", "take a ControlNet"),
        ("lllite_unet*", "ControlNet-LLLite", "take a ControlNet"),
        ("difference", "a ControlNet stored as the difference to its base", "take a complete ControlNet"),
        ("control_add_embedding.*", "ControlNet Union", "take a ControlNet for one kind of picture"),
        ("task_embedding", "ControlNet Union", "take a ControlNet for one kind of picture"),
    ]
};

/// Names by which a file is known that has a part for a model and no network: what it is, and what to do with it.
const PARTS: &[(&str, &str, &str)] = &{
    const LORA: &str = "add it to a model as a LoRA";
    [
        ("*.lora_down.weight", "a LoRA", LORA),
        ("*.lora_A.weight", "a LoRA", LORA),
        ("*.lora.down.weight", "a LoRA", LORA),
        ("*.hada_w1_a", "a LoRA (LoHa)", LORA),
        ("*.lokr_w1*", "a LoRA (LoKr)", LORA),
        ("*.adapter.conv_in.weight", "a T2I-Adapter", "take a ControlNet"),
        ("adapter.conv_in.weight", "a T2I-Adapter", "take a ControlNet"),
        ("body.*.block1.weight", "a T2I-Adapter", "take a ControlNet"),
        ("ip_adapter.*", "an IP-Adapter", "draw without it"),
        ("image_proj.*", "an IP-Adapter", "draw without it"),
        ("vision_model.*", "a CLIP vision model", "take a text encoder or a whole model"),
        ("visual.*", "a CLIP vision model", "take a text encoder or a whole model"),
        ("blocks.*.cross_attn.*", "PixArt", TAKE),
        ("adaln_single.*", "PixArt", TAKE),
    ]
};

pub(super) const TAKE: &str = "take a Stable Diffusion 1.x or SDXL model";

/// Refuses what has the names of a family that is none of these networks'.
pub(super) fn refuse_foreign(origin: &str, names: &BTreeSet<String>) -> Result<(), Error> {
    refuse(FOREIGN, origin, names)
}

/// Refuses what has no network, but a part for one.
pub(super) fn refuse_parts(origin: &str, names: &BTreeSet<String>) -> Result<(), Error> {
    refuse(PARTS, origin, names)
}

fn refuse(table: &[(&str, &str, &str)], origin: &str, names: &BTreeSet<String>) -> Result<(), Error> {
    for (pattern, family, instead) in table {
        if names.iter().any(|name| name_matches(pattern, name)) {
            return Err(foreign(origin, family, instead));
        }
    }
    Ok(())
}

pub(super) fn foreign(origin: &str, family: &str, instead: &str) -> Error {
    Error::Family { origin: origin.into(), family: family.into(), instead: instead.into() }
}

pub(super) fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|ignored| name_matches(ignored.pattern, name))
}
