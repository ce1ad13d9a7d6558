//! The keys of a LoRA file: which module each belongs to, and what it holds.
//!
//! | writer | a key |
//! |---|---|
//! | kohya's scripts, LyCORIS | `lora_unet_mid_block_attentions_0_proj_in.lora_down.weight` |
//! | PEFT, diffusers | `unet.mid_block.attentions.0.proj_in.lora_A.weight`, `….lora_A.default.weight` |
//! | older diffusers | `unet.mid_block.attentions.0.proj_in.lora.down.weight` |
//! | its attention processors | `mid_block.….attn1.processor.to_q_lora.down.weight` |
//! | its text encoders | `text_encoder.….q_proj.lora_linear_layer.down.weight`, `….self_attn.to_q_lora.down.weight` |
//!
//! A module ends where the form's own segment begins.

use std::borrow::Cow;

/// What one key of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// A tensor of a module in a form that is read.
    Piece(Cow<'a, str>, Piece),
    /// A module in a form that is not read, as an index into [`FOREIGN`].
    Foreign(&'a str, usize),
}

/// The tensors of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    Down,
    Up,
    Mid,
    UpBias,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    Diff,
    DiffBias,
    DoraScale,
    Magnitude,
    OftBlocks,
    Rescale,
    GLoraA1,
    GLoraA2,
    GLoraB1,
    GLoraB2,
    GLoraBm,
    Ia3Weight,
    OnInput,
    Alpha,
}

impl Piece {
    /// The pieces whose key ends with just their name.
    const PLAIN: [(&str, Self); 23] = [
        ("hada_w1_a", Self::HadaW1A),
        ("hada_w1_b", Self::HadaW1B),
        ("hada_w2_a", Self::HadaW2A),
        ("hada_w2_b", Self::HadaW2B),
        ("hada_t1", Self::HadaT1),
        ("hada_t2", Self::HadaT2),
        ("lokr_w1", Self::LokrW1),
        ("lokr_w1_a", Self::LokrW1A),
        ("lokr_w1_b", Self::LokrW1B),
        ("lokr_w2", Self::LokrW2),
        ("lokr_w2_a", Self::LokrW2A),
        ("lokr_w2_b", Self::LokrW2B),
        ("lokr_t2", Self::LokrT2),
        ("diff", Self::Diff),
        ("diff_b", Self::DiffBias),
        // LyCORIS calls the difference of a normalisation layer so.
        ("w_norm", Self::Diff),
        ("b_norm", Self::DiffBias),
        ("dora_scale", Self::DoraScale),
        ("lora_magnitude_vector", Self::Magnitude),
        ("oft_blocks", Self::OftBlocks),
        ("rescale", Self::Rescale),
        ("on_input", Self::OnInput),
        ("alpha", Self::Alpha),
    ];

    /// GLoRA's pieces, whose key ends with `.weight` after their name.
    const GLORA: [(&str, Self); 5] = [
        ("a1", Self::GLoraA1),
        ("a2", Self::GLoraA2),
        ("b1", Self::GLoraB1),
        ("b2", Self::GLoraB2),
        ("bm", Self::GLoraBm),
    ];

    /// What the piece is called in messages: as kohya's scripts or LyCORIS spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Down => "lora_down.weight",
            Self::Up => "lora_up.weight",
            Self::Mid => "lora_mid.weight",
            Self::UpBias => "lora_B.bias",
            Self::Ia3Weight => "weight",
            plain => Self::PLAIN
                .iter()
                .chain(&Self::GLORA)
                .find(|(_, piece)| *piece == plain)
                .map_or("", |(name, _)| name),
        }
    }
}

/// Forms that are told apart and refused. A module with marks of several goes by the first of them.
pub(crate) const FOREIGN: [&str; 5] = [
    "a transformer's LoRA (FLUX, Stable Diffusion 3)",
    "OFT or BOFT as PEFT writes them (oft_R, boft_R)",
    "a weight of another shape (reshape_weight)",
    "an embedding's LoRA (lora_embedding_A)",
    "a key of no LoRA form",
];

/// The last of [`FOREIGN`]: nothing in the key is known.
pub(crate) const NO_FORM: usize = FOREIGN.len() - 1;

/// Reads one key.
pub(crate) fn parse(key: &str) -> Key<'_> {
    let mut start = 0;
    for segment in key.split('.') {
        let end = start + segment.len();
        let module = key[..start].trim_end_matches('.');
        let rest = key[end..].trim_start_matches('.');
        if let Some(form) = foreign(segment) {
            return Key::Foreign(module, form);
        }
        // LyCORIS' (IA)³ has no name of its own for its numbers; a file of plain weights has no names like this.
        if segment == "weight" && rest.is_empty() && module.starts_with("lora_") && !module.contains('.') {
            return owned_by(module.into(), Piece::Ia3Weight);
        }
        if let Some(piece) = piece(segment, rest) {
            return owned_by(module.into(), piece);
        }
        if let (Some(layer), Some(piece)) = (segment.strip_suffix("_lora"), old_piece(rest)) {
            return owned_by(attention_layer(module, layer).into(), piece);
        }
        start = end + 1;
    }
    // An unknown key of a module takes the module with it: what it would have changed is not known either.
    let module = match key.split_once('.') {
        Some((module, _)) if module.starts_with("lora_") => module,
        _ => key.strip_suffix(".weight").unwrap_or(key),
    };
    Key::Foreign(module, NO_FORM)
}

/// The networks of other families have their own first segment.
fn owned_by(module: Cow<'_, str>, piece: Piece) -> Key<'_> {
    match module {
        Cow::Borrowed(name) if name.starts_with("transformer.") || name.starts_with("lora_transformer_") => {
            Key::Foreign(name, 0)
        }
        module => Key::Piece(module, piece),
    }
}

fn piece(segment: &str, rest: &str) -> Option<Piece> {
    match segment {
        "lora_down" if rest == "weight" => Some(Piece::Down),
        "lora_up" if rest == "weight" => Some(Piece::Up),
        "lora_up" if rest == "bias" => Some(Piece::UpBias),
        "lora_mid" if rest == "weight" => Some(Piece::Mid),
        "lora_A" | "lora_B" => match (segment, last_after_adapter(rest)?) {
            ("lora_A", "weight") => Some(Piece::Down),
            ("lora_B", "weight") => Some(Piece::Up),
            ("lora_B", "bias") => Some(Piece::UpBias),
            _ => None,
        },
        "lora_magnitude_vector" if !rest.is_empty() => last_after_adapter(rest).map(|_| Piece::Magnitude),
        "lora" | "lora_linear_layer" => old_piece(rest),
        _ if rest == "weight" => {
            Piece::GLORA.iter().find(|(name, _)| *name == segment).map(|(_, piece)| *piece)
        }
        _ => {
            Piece::PLAIN.iter().find(|(name, _)| *name == segment && rest.is_empty()).map(|(_, piece)| *piece)
        }
    }
}

/// `weight` of `weight` and of `default.weight`, where the name of PEFT's adapter stayed in the key.
fn last_after_adapter(rest: &str) -> Option<&str> {
    let last = rest.split_once('.').map_or(rest, |(_adapter, last)| last);
    (!last.contains('.')).then_some(last)
}

fn old_piece(rest: &str) -> Option<Piece> {
    match rest {
        "down.weight" => Some(Piece::Down),
        "up.weight" => Some(Piece::Up),
        "alpha" => Some(Piece::Alpha),
        _ => None,
    }
}

/// The layer that an attention processor's `to_q_lora` changes. Old diffusers put text encoders through the same
/// class, whose layers have names of their own.
fn attention_layer(module: &str, layer: &str) -> String {
    let attention = module.strip_suffix(".processor").unwrap_or(module);
    let text = attention.ends_with("self_attn");
    let layer = match layer {
        "to_q" if text => "q_proj",
        "to_k" if text => "k_proj",
        "to_v" if text => "v_proj",
        "to_out" if text => "out_proj",
        "to_out" => "to_out.0",
        other => other,
    };
    format!("{attention}.{layer}")
}

fn foreign(segment: &str) -> Option<usize> {
    Some(match segment {
        "oft_blocks" => return None,
        _ if segment.starts_with("oft_") || segment.starts_with("boft_") => 1,
        "reshape_weight" => 2,
        "lora_embedding_A" | "lora_embedding_B" => 3,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writers_keys_are_read() {
        let kohya = "lora_unet_up_blocks_1_resnets_2_conv1";
        let q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
        let text = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj";
        for (module, suffix, piece) in [
            (kohya, "lora_down.weight", Piece::Down),
            (kohya, "lora_up.weight", Piece::Up),
            (kohya, "lora_mid.weight", Piece::Mid),
            (kohya, "alpha", Piece::Alpha),
            (kohya, "dora_scale", Piece::DoraScale),
            (kohya, "hada_w1_a", Piece::HadaW1A),
            (kohya, "hada_t2", Piece::HadaT2),
            (kohya, "lokr_w2", Piece::LokrW2),
            (kohya, "lokr_w2_b", Piece::LokrW2B),
            (kohya, "diff", Piece::Diff),
            (kohya, "diff_b", Piece::DiffBias),
            (kohya, "w_norm", Piece::Diff),
            (kohya, "b_norm", Piece::DiffBias),
            (kohya, "oft_blocks", Piece::OftBlocks),
            (kohya, "rescale", Piece::Rescale),
            (kohya, "a1.weight", Piece::GLoraA1),
            (kohya, "bm.weight", Piece::GLoraBm),
            (kohya, "weight", Piece::Ia3Weight),
            (kohya, "on_input", Piece::OnInput),
            (q, "lora_A.weight", Piece::Down),
            (q, "lora_B.weight", Piece::Up),
            (q, "lora_A.default.weight", Piece::Down),
            (q, "lora_B.style_1.weight", Piece::Up),
            (q, "lora_B.bias", Piece::UpBias),
            (q, "lora_B.default.bias", Piece::UpBias),
            (q, "lora_magnitude_vector", Piece::Magnitude),
            (q, "lora_magnitude_vector.weight", Piece::Magnitude),
            (q, "lora_magnitude_vector.default.weight", Piece::Magnitude),
            (q, "lora.down.weight", Piece::Down),
            (q, "lora.up.weight", Piece::Up),
            (q, "alpha", Piece::Alpha),
            (text, "lora_linear_layer.down.weight", Piece::Down),
            (text, "lora_linear_layer.up.weight", Piece::Up),
        ] {
            assert_eq!(parse(&format!("{module}.{suffix}")), Key::Piece(module.into(), piece), "{suffix}");
        }
    }

    #[test]
    fn attention_processors_name_the_layer_they_change() {
        for (key, module, piece) in [
            ("a.attn1.processor.to_q_lora.down.weight", "a.attn1.to_q", Piece::Down),
            ("unet.a.attn2.processor.to_out_lora.up.weight", "unet.a.attn2.to_out.0", Piece::Up),
            (
                "text_encoder.b.self_attn.to_q_lora.down.weight",
                "text_encoder.b.self_attn.q_proj",
                Piece::Down,
            ),
            (
                "text_encoder.b.self_attn.to_out_lora.up.weight",
                "text_encoder.b.self_attn.out_proj",
                Piece::Up,
            ),
        ] {
            assert_eq!(parse(key), Key::Piece(module.into(), piece));
        }
    }

    #[test]
    fn other_forms_are_known_by_name() {
        for (key, module, form) in [
            ("lora_unet_a_b.oft_diag", "lora_unet_a_b", "OFT"),
            ("unet.a.b.boft_R", "unet.a.b", "BOFT"),
            ("lora_unet_a_b.reshape_weight", "lora_unet_a_b", "reshape_weight"),
            ("text_encoder.a.lora_embedding_A", "text_encoder.a", "embedding"),
            ("transformer.blocks.0.attn.to_q.lora_A.weight", "transformer.blocks.0.attn.to_q", "FLUX"),
            ("lora_unet_a_b.lora_down.weights", "lora_unet_a_b", "no LoRA form"),
            ("lora_unet_a_b.lokr_t1", "lora_unet_a_b", "no LoRA form"),
            ("lora_unet_a_b.lora_A.x.y.weight", "lora_unet_a_b", "no LoRA form"),
            ("conv_in.weight", "conv_in", "no LoRA form"),
            ("", "", "no LoRA form"),
            ("...", "...", "no LoRA form"),
        ] {
            let Key::Foreign(found, index) = parse(key) else { panic!("{key} was taken for a piece") };
            assert_eq!(found, module, "{key}");
            assert!(FOREIGN[index].contains(form), "{key}: {}", FOREIGN[index]);
        }
    }
}
