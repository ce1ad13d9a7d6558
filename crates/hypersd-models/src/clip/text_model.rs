//! The transformer that reads a prompt (Radford et al. 2021, arXiv:2103.00020, section 2.4).
//!
//! Field names are transformers' (`CLIPTextModel`, `CLIPTextModelWithProjection`), so that the module paths are the
//! keys of the files.

use burn::{
    nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig},
    tensor::{Device, Int, Tensor, TensorData},
};
use hypersd_core::slots;

use super::{ClipTextConfig, HiddenAct};
use crate::{Error, backend::activation_dtype, error::check_shape, layers::Linear, ops};

/// A CLIP text encoder.
#[derive(Debug, Clone)]
pub struct ClipTextModel {
    text_model: TextTransformer,
    text_projection: Option<Linear>,
    config: ClipTextConfig,
}

slots!(ClipTextModel { text_model, text_projection; config });

/// The states of a text encoder for a batch of prompts. B prompts, L ids each, width D.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TextStates {
    /// The embeddings, then the output of each layer, all without the final norm: layers + 1 tensors `[B, L, D]`.
    /// SDXL conditions on the last but one.
    pub hidden_states: Vec<Tensor<3>>,
    /// The last of them after the final norm, `[B, L, D]`. SD 1.x and 2.x condition on it.
    pub last_hidden_state: Tensor<3>,
    /// The normed state at the first end of text, projected, `[B, projection_dim]`; `None` without a projection.
    pub pooled: Option<Tensor<2>>,
}

#[derive(Debug, Clone)]
struct TextTransformer {
    embeddings: Embeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
}

slots!(TextTransformer { embeddings, encoder, final_layer_norm });

#[derive(Debug, Clone)]
struct Embeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

slots!(Embeddings { token_embedding, position_embedding });

#[derive(Debug, Clone)]
struct Encoder {
    layers: Vec<EncoderLayer>,
}

slots!(Encoder { layers });

#[derive(Debug, Clone)]
struct EncoderLayer {
    self_attn: SelfAttention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

slots!(EncoderLayer { self_attn, layer_norm1, mlp, layer_norm2 });

#[derive(Debug, Clone)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

slots!(SelfAttention { q_proj, k_proj, v_proj, out_proj; heads });

#[derive(Debug, Clone)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    hidden_act: HiddenAct,
}

slots!(Mlp { fc1, fc2; hidden_act });

impl ClipTextModel {
    /// The network of a configuration, to be filled by [`hypersd_core::load`].
    ///
    /// # Errors
    /// [`Error::Config`] for sizes that do not fit each other.
    pub fn new(config: &ClipTextConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let projection = || Linear::new(config.hidden_size, config.projection_dim, device).without_bias();
        Ok(Self {
            text_model: TextTransformer::new(config, device),
            text_projection: config.with_projection.then(projection),
            config: config.clone(),
        })
    }

    /// The configuration it was made from.
    #[must_use]
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Encodes a batch of token ids, as [`Tokenizer::encode`](super::Tokenizer::encode) gives them: B sequences of
    /// the same length L.
    ///
    /// # Errors
    /// [`Error::TokenIds`] for no ids, sequences of different lengths or longer than `max_position_embeddings`, and
    /// ids outside the vocabulary.
    pub fn forward(&self, ids: &[Vec<u32>]) -> Result<TextStates, Error> {
        self.forward_with_words(ids, None)
    }

    /// [`forward`](Self::forward) with embeddings beside the vocabulary's (textual inversion): the ids from `vocab_size`
    /// on are the rows of `words`.
    ///
    /// # Shapes
    /// - words `[N, D]`
    ///
    /// # Errors
    /// As [`forward`](Self::forward), for ids from `vocab_size + N` on; [`Error::Shape`] for words of another width.
    pub fn forward_with_words(
        &self,
        ids: &[Vec<u32>],
        words: Option<&Tensor<2>>,
    ) -> Result<TextStates, Error> {
        let model = &self.text_model;
        if let Some(words) = words {
            check_shape("words", words.dims(), [None, Some(self.config.hidden_size)])?;
        }
        let length = self.check(ids, words.map_or(0, |words| words.dims()[0]))?;
        let vocab_size = self.config.vocab_size as u32;
        let mut hidden_states = vec![model.embeddings.forward(ids, length, vocab_size, words)];
        let mut x = hidden_states[0].clone();
        for layer in &model.encoder.layers {
            x = layer.forward(x);
            hidden_states.push(x.clone());
        }
        let last_hidden_state = ops::layer_norm(x, &model.final_layer_norm);
        let pooled = self.text_projection.as_ref().map(|projection| {
            let at_eos = ids.iter().enumerate().map(|(row, ids)| {
                let eos = eos_position(ids, self.config.eos_token_id);
                last_hidden_state.clone().narrow(0, row, 1).narrow(1, eos, 1) // [1, 1, D]
            });
            ops::linear(Tensor::cat(at_eos.collect(), 0).squeeze_dim::<2>(1), projection)
        });
        Ok(TextStates { hidden_states, last_hidden_state, pooled })
    }

    /// The state that conditions SD 1.x and 2.x when the last `clip_skip` layers are left out: the final norm of
    /// what came before them, `[B, L, D]`. Counted as diffusers does: 0 is
    /// [`last_hidden_state`](TextStates::last_hidden_state), and what other programs call "CLIP skip 2" is 1.
    ///
    /// # Errors
    /// [`Error::ClipSkip`] for more layers than there are.
    pub fn skip_layers(&self, states: &TextStates, clip_skip: usize) -> Result<Tensor<3>, Error> {
        let layers = states.hidden_states.len() - 1;
        let Some(layer) = layers.checked_sub(clip_skip) else {
            return Err(Error::ClipSkip { layers, found: clip_skip });
        };
        Ok(ops::layer_norm(states.hidden_states[layer].clone(), &self.text_model.final_layer_norm))
    }

    /// The state that conditions SDXL when the last `clip_skip` layers are left out beside the very last, which always
    /// is: without the final norm, `[B, L, D]`. 0 is the last but one.
    ///
    /// # Errors
    /// [`Error::ClipSkip`] for more layers than there are.
    pub fn penultimate(&self, states: &TextStates, clip_skip: usize) -> Result<Tensor<3>, Error> {
        let Some(last) = states.hidden_states.len().checked_sub(2) else {
            return Err(Error::ClipSkip { layers: 0, found: clip_skip });
        };
        match last.checked_sub(clip_skip) {
            Some(layer) => Ok(states.hidden_states[layer].clone()),
            None => Err(Error::ClipSkip { layers: last, found: clip_skip }),
        }
    }

    /// The common length of the sequences, whose ids are of the vocabulary and of so many words.
    fn check(&self, ids: &[Vec<u32>], words: usize) -> Result<usize, Error> {
        let (positions, vocab_size) = (self.config.max_position_embeddings, self.config.vocab_size + words);
        let error = |expected: String, found: String| Err(Error::TokenIds { expected, found });
        let length = ids.first().map_or(0, Vec::len);
        if !(1..=positions).contains(&length) {
            return error(format!("1 to {positions} ids per prompt"), length.to_string());
        }
        if let Some(other) = ids.iter().find(|ids| ids.len() != length) {
            return error(format!("{length} ids, as in the first prompt"), other.len().to_string());
        }
        match ids.iter().flatten().find(|&&id| id as usize >= vocab_size) {
            Some(id) => error(format!("ids below {vocab_size}"), id.to_string()),
            None => Ok(length),
        }
    }
}

impl Embeddings {
    /// B sequences of `length` ids, those from `vocab_size` on being rows of `words` → `[B, L, D]`
    fn forward(
        &self,
        ids: &[Vec<u32>],
        length: usize,
        vocab_size: u32,
        words: Option<&Tensor<2>>,
    ) -> Tensor<3> {
        let table = self.token_embedding.weight.val();
        let (device, b) = (table.device(), ids.len());
        let dtype = activation_dtype(table.dtype().into(), &device);
        let upload = |of: &dyn Fn(u32) -> u32| {
            let flat: Vec<i32> = ids.iter().flatten().map(|&id| of(id) as i32).collect();
            Tensor::<2, Int>::from_data(TensorData::new(flat, [b, length]), &device)
        };
        let known = |id: u32| if id < vocab_size { id } else { 0 };
        let mut tokens = self.token_embedding.forward(upload(&known)).cast(dtype);
        if let Some(words) = words.filter(|_| ids.iter().flatten().any(|&id| id >= vocab_size)) {
            let rows = upload(&|id| id.saturating_sub(vocab_size)).reshape([b * length]);
            let words = words.clone().to_device(&device).cast(dtype).select(0, rows);
            let is_word = upload(&|id| u32::from(id >= vocab_size)).equal_elem(1).unsqueeze_dim::<3>(2);
            let width = tokens.dims()[2];
            tokens = tokens.mask_where(is_word.expand([b, length, width]), words.reshape([b, length, width]));
        }
        let positions = self.position_embedding.weight.val().narrow(0, 0, length); // [L, D]
        tokens + positions.cast(dtype).unsqueeze()
    }
}

impl TextTransformer {
    fn new(config: &ClipTextConfig, device: &Device) -> Self {
        let d = config.hidden_size;
        Self {
            embeddings: Embeddings {
                token_embedding: EmbeddingConfig::new(config.vocab_size, d).init(device),
                position_embedding: EmbeddingConfig::new(config.max_position_embeddings, d).init(device),
            },
            encoder: Encoder {
                layers: (0..config.num_hidden_layers).map(|_| EncoderLayer::new(config, device)).collect(),
            },
            final_layer_norm: norm(config, device),
        }
    }
}

impl EncoderLayer {
    fn new(config: &ClipTextConfig, device: &Device) -> Self {
        let (d, d_mlp) = (config.hidden_size, config.intermediate_size);
        let linear = |d_in, d_out| Linear::new(d_in, d_out, device);
        Self {
            self_attn: SelfAttention {
                q_proj: linear(d, d),
                k_proj: linear(d, d),
                v_proj: linear(d, d),
                out_proj: linear(d, d),
                heads: config.num_attention_heads,
            },
            layer_norm1: norm(config, device),
            mlp: Mlp { fc1: linear(d, d_mlp), fc2: linear(d_mlp, d), hidden_act: config.hidden_act },
            layer_norm2: norm(config, device),
        }
    }

    /// `[B, L, D]` → `[B, L, D]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = ops::add(self.self_attn.forward(ops::layer_norm(x.clone(), &self.layer_norm1)), x);
        ops::add(self.mlp.forward(ops::layer_norm(x.clone(), &self.layer_norm2)), x)
    }
}

impl SelfAttention {
    /// `[B, L, D]` → `[B, L, D]`; each position sees itself and what is before it. Padding is not masked: the
    /// Stable Diffusion pipelines never do.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let q = ops::linear(x.clone(), &self.q_proj);
        let k = ops::linear(x.clone(), &self.k_proj);
        let v = ops::linear(x, &self.v_proj);
        ops::linear(ops::causal_attention(q, k, v, self.heads), &self.out_proj)
    }
}

impl Mlp {
    /// `[B, L, D]` → `[B, L, D]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = ops::linear(x, &self.fc1);
        let x = match self.hidden_act {
            HiddenAct::QuickGelu => ops::quick_gelu(x),
            HiddenAct::Gelu => ops::gelu(x),
        };
        ops::linear(x, &self.fc2)
    }
}

fn norm(config: &ClipTextConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps).init(device)
}

/// Where the pooled state is taken, by the rule of transformers: at the first `eos_token_id`, or, if that is the
/// historical 2, at the first of the highest ids. Position 0 if there is no such id.
fn eos_position(ids: &[u32], eos_token_id: u32) -> usize {
    let eos = if eos_token_id == 2 { ids.iter().max() } else { Some(&eos_token_id) };
    ids.iter().position(|id| Some(id) == eos).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooled_position_follows_the_rule_of_transformers() {
        assert_eq!(eos_position(&[49406, 7, 49407, 49407], 2), 2);
        assert_eq!(eos_position(&[49406, 7, 49407, 0], 49407), 2);
        // An added token is higher than the end of text: the historical rule takes it.
        assert_eq!(eos_position(&[49406, 49408, 49407], 2), 1);
        assert_eq!(eos_position(&[49406, 49408, 49407], 49407), 2);
        assert_eq!(eos_position(&[49406, 7], 49407), 0);
    }
}
