//! The keys of a LoRA file: which module each belongs to, and what it holds.

/// What one key of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// A tensor of a low-rank module in kohya naming.
    Part(&'a str, Part),
    /// A module in a form that is not read, as an index into [`FOREIGN`].
    Foreign(&'a str, usize),
}

/// The tensors of a low-rank module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// `[rank, in, ..]`
    Down,
    /// `[out, rank, ..]`
    Up,
    /// A scalar.
    Alpha,
}

/// Forms and namings that are told apart and refused. A module with marks of several goes by the first of them:
/// what changes the arithmetic stands before what changes the names.
pub(crate) const FOREIGN: [&str; 14] = [
    "DoRA (dora_scale, lora_magnitude_vector)",
    "LoCon with a middle factor (lora_mid)",
    "LoHa (hada_*)",
    "LoKr (lokr_*)",
    "OFT (oft_*)",
    "GLoRA (a1, a2, b1, b2)",
    "(IA)³ (on_input)",
    "full difference (diff, diff_b)",
    "normalisation weights (w_norm, b_norm)",
    "LoRA with bias (lora_up.bias, lora_B.bias)",
    "PEFT naming (lora_A, lora_B)",
    "old diffusers naming (lora.down, to_q_lora.down, lora_linear_layer.down)",
    "kohya naming over SGM blocks (input_blocks, middle_block, output_blocks)",
    "a key of no LoRA form",
];

/// The last of [`FOREIGN`]: nothing in the key is known.
pub(crate) const NO_FORM: usize = FOREIGN.len() - 1;
const SGM: usize = NO_FORM - 1;

/// Reads one key. kohya names have no dot in the module, the others end where the form's own segment begins.
pub(crate) fn parse(key: &str) -> Key<'_> {
    let (module, rest) = key.split_once('.').unwrap_or((key, ""));
    let part = match rest {
        "lora_down.weight" => Part::Down,
        "lora_up.weight" => Part::Up,
        "alpha" => Part::Alpha,
        _ => return foreign(key),
    };
    let sgm = ["_input_blocks_", "_middle_block_", "_output_blocks_"];
    if sgm.iter().any(|blocks| module.contains(blocks)) {
        Key::Foreign(module, SGM)
    } else {
        Key::Part(module, part)
    }
}

fn foreign(key: &str) -> Key<'_> {
    let bias = key.ends_with(".bias");
    let mut start = 0;
    for segment in key.split('.') {
        if let Some(form) = form_of(segment, bias) {
            return Key::Foreign(key[..start].trim_end_matches('.'), form);
        }
        start += segment.len() + 1;
    }
    // An unknown key of a module takes the module with it: what it would have changed is not known either.
    let module = match key.split_once('.') {
        Some((module, _)) if module.starts_with("lora_") => module,
        _ => key.strip_suffix(".alpha").or_else(|| key.strip_suffix(".weight")).unwrap_or(key),
    };
    Key::Foreign(module, NO_FORM)
}

fn form_of(segment: &str, bias: bool) -> Option<usize> {
    Some(match segment {
        "dora_scale" | "lora_magnitude_vector" => 0,
        "lora_mid" => 1,
        "a1" | "a2" | "b1" | "b2" => 5,
        "on_input" => 6,
        "diff" | "diff_b" => 7,
        "w_norm" | "b_norm" => 8,
        "lora_down" | "lora_up" | "lora_A" | "lora_B" if bias => 9,
        "lora_A" | "lora_B" | "lora_embedding_A" | "lora_embedding_B" => 10,
        "lora" | "lora_linear_layer" => 11,
        _ if segment.starts_with("hada_") => 2,
        _ if segment.starts_with("lokr_") => 3,
        _ if segment.starts_with("oft_") => 4,
        _ if segment.ends_with("_lora") => 11,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kohya_keys_split_at_the_first_dot() {
        let module = "lora_unet_up_blocks_1_resnets_2_conv1";
        for (suffix, part) in
            [("lora_down.weight", Part::Down), ("lora_up.weight", Part::Up), ("alpha", Part::Alpha)]
        {
            assert_eq!(parse(&format!("{module}.{suffix}")), Key::Part(module, part));
        }
    }

    #[test]
    fn other_forms_are_known_by_name() {
        for (key, module, form) in [
            ("lora_unet_a_b.dora_scale", "lora_unet_a_b", "DoRA"),
            ("lora_unet_a_b.lora_mid.weight", "lora_unet_a_b", "lora_mid"),
            ("lora_unet_a_b.hada_w1_a", "lora_unet_a_b", "LoHa"),
            ("lora_unet_a_b.lokr_w2", "lora_unet_a_b", "LoKr"),
            ("lora_unet_a_b.oft_blocks", "lora_unet_a_b", "OFT"),
            ("lora_unet_a_b.a1.weight", "lora_unet_a_b", "GLoRA"),
            ("lora_unet_a_b.on_input", "lora_unet_a_b", "IA"),
            ("lora_unet_a_b.diff", "lora_unet_a_b", "full difference"),
            ("lora_unet_a_b.diff_b", "lora_unet_a_b", "full difference"),
            ("lora_unet_a_b.w_norm", "lora_unet_a_b", "w_norm"),
            ("lora_unet_a_b.lora_up.bias", "lora_unet_a_b", "bias"),
            ("unet.a.b.lora_A.weight", "unet.a.b", "PEFT"),
            ("diffusion_model.a.b.lora_A.default.weight", "diffusion_model.a.b", "PEFT"),
            ("unet.a.attn1.processor.to_q_lora.down.weight", "unet.a.attn1.processor", "old diffusers"),
            ("unet.a.to_q.lora.down.weight", "unet.a.to_q", "old diffusers"),
            ("text_encoder.a.q_proj.lora_linear_layer.up.weight", "text_encoder.a.q_proj", "old diffusers"),
            (
                "lora_unet_input_blocks_4_1_proj_in.lora_down.weight",
                "lora_unet_input_blocks_4_1_proj_in",
                "SGM",
            ),
            ("lora_unet_a_b.reshape_weight", "lora_unet_a_b", "no LoRA form"),
            ("unet.a.b.alpha", "unet.a.b", "no LoRA form"),
            ("conv_in.weight", "conv_in", "no LoRA form"),
            ("", "", "no LoRA form"),
            ("...", "...", "no LoRA form"),
        ] {
            let Key::Foreign(found, index) = parse(key) else {
                panic!("{key} was taken for a low-rank part")
            };
            assert_eq!(found, module, "{key}");
            assert!(FOREIGN[index].contains(form), "{key}: {}", FOREIGN[index]);
        }
    }
}
