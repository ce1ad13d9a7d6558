//! A prompt's tokens in windows of 75, and what an encoder makes of them.

use burn::tensor::{FloatDType, Tensor, TensorData};
use hypersd_models::{
    TextProfile,
    clip::{ClipTextModel, Token, Tokenizer},
};

use crate::{Error, prompt::emphasis::Part};

/// Most windows of a prompt: the memory of cross-attention grows with their number, and 4800 tokens are a short story.
const MOST_WINDOWS: usize = 64;

/// What an encoder reads at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    /// Begin of text, at most 75 tokens, end of text, padding.
    pub(super) ids: Vec<u32>,
    /// One for each id; 1 but where the prompt says otherwise.
    pub(super) weights: Vec<f32>,
}

/// A prompt as one encoder is given it.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub(super) windows: Vec<Window>,
    /// The number of the prompt's tokens, of which those that were cut off are not counted.
    pub(super) tokens: usize,
    /// The end that was cut off.
    pub(super) truncated: Option<String>,
}

/// What an encoder makes of a prompt.
pub(super) struct States {
    /// `[1, 77 · windows, D]`
    pub(super) context: Tensor<3>,
    /// `[1, P]`, of the first window.
    pub(super) pooled: Option<Tensor<2>>,
}

impl Window {
    /// A window without a token.
    pub(super) fn empty(tokenizer: &Tokenizer) -> Self {
        Self::of(tokenizer, &[], &[])
    }

    /// A window of tokens with their weights; begin, end and padding weigh 1.
    fn of(tokenizer: &Tokenizer, ids: &[u32], weights: &[f32]) -> Self {
        let ids = tokenizer.window(ids);
        let mut all = vec![1.0; ids.len()];
        all[1..=weights.len()].copy_from_slice(weights);
        Self { ids, weights: all }
    }

    fn is_plain(&self) -> bool {
        self.weights.iter().all(|&weight| weight == 1.0)
    }
}

impl Windows {
    /// Puts the parts of a prompt into as many windows as they take, or, where it is not to be `long`, into one.
    pub(super) fn new(tokenizer: &Tokenizer, parts: &[Part], long: bool) -> Result<Self, Error> {
        let mut filling = Filling { tokenizer, ids: Vec::new(), weights: Vec::new(), windows: Vec::new() };
        let mut count = 0;
        for part in parts {
            let (text, weight) = match part {
                Part::Break => {
                    filling.close()?;
                    continue;
                }
                Part::Text(text, weight) => (text, *weight as f32),
            };
            let tokens = tokenizer.tokens(text)?;
            if !long {
                return Ok(Self::one(tokenizer, text, &tokens));
            }
            count += tokens.len();
            // The vectors of a word of one's own stay together.
            for word in tokens.chunk_by(|_, next| next.continues) {
                filling.push(word, weight)?;
            }
        }
        if !filling.ids.is_empty() || filling.windows.is_empty() {
            filling.close()?;
        }
        Ok(Self { windows: filling.windows, tokens: count, truncated: None })
    }

    /// One window of what fits.
    fn one(tokenizer: &Tokenizer, text: &str, tokens: &[Token]) -> Self {
        let room = tokenizer.room();
        let ids: Vec<u32> = tokens.iter().take(room).map(|token| token.id).collect();
        Self {
            windows: vec![Window::of(tokenizer, &ids, &[])],
            tokens: ids.len(),
            truncated: tokens.get(room).map(|token| text[token.start..].to_string()),
        }
    }
}

/// The windows so far, and the one that is being filled.
struct Filling<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    weights: Vec<f32>,
    windows: Vec<Window>,
}

impl Filling<'_> {
    /// Tokens that belong together: in the next window where they do not fit into this one.
    fn push(&mut self, word: &[Token], weight: f32) -> Result<(), Error> {
        let room = self.tokenizer.room();
        if self.ids.len() + word.len() > room && !self.ids.is_empty() {
            self.close()?;
        }
        for token in word {
            if self.ids.len() == room {
                self.close()?;
            }
            self.ids.push(token.id);
            self.weights.push(weight);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.windows.len() == MOST_WINDOWS {
            let room = self.tokenizer.room();
            return Err(Error::Request {
                option: "prompt",
                expected: format!("at most {MOST_WINDOWS} windows of {room} tokens"),
                found: "more".into(),
            });
        }
        self.windows.push(Window::of(self.tokenizer, &self.ids, &self.weights));
        self.ids.clear();
        self.weights.clear();
        Ok(())
    }
}

/// The states of windows, each encoded by itself, one after the other; `None` of none.
///
/// # Shapes
/// - words `[N, D]`: the ids beyond the vocabulary
pub(super) fn encode(
    network: &ClipTextModel,
    traits: &TextProfile,
    words: Option<&Tensor<2>>,
    windows: &[Window],
    clip_skip: usize,
) -> Result<Option<States>, Error> {
    let mut context: Vec<Tensor<3>> = Vec::with_capacity(windows.len());
    let mut pooled = None;
    for (i, window) in windows.iter().enumerate() {
        // Empty windows come in rows.
        if let Some(j) = windows[..i].iter().position(|before| before == window) {
            context.push(context[j].clone());
            continue;
        }
        let states = network.forward_with_words(std::slice::from_ref(&window.ids), words)?;
        let own = traits.context(network, &states, clip_skip)?;
        context.push(if window.is_plain() { own } else { emphasize(own, &window.weights)? });
        if i == 0 && traits.pooled {
            pooled = states.pooled;
        }
    }
    Ok((!context.is_empty()).then(|| States { context: Tensor::cat(context, 1), pooled }))
}

/// States times the weights of their tokens, then times what brings their mean back to what it was: AUTOMATIC1111's
/// emphasis. The means are taken in f64, for they are small beside the states.
///
/// # Shapes
/// - states `[1, L, D]`, L weights → `[1, L, D]`
fn emphasize(states: Tensor<3>, weights: &[f32]) -> Result<Tensor<3>, Error> {
    let (shape, device, dtype) = (states.dims(), states.device(), FloatDType::from(states.dtype()));
    let width = shape[2];
    let mut x: Vec<f32> = states.cast(FloatDType::F32).into_data().try_into_vec_as().expect("f32 data");
    let sum = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>();
    let before = sum(&x);
    for (row, weight) in x.chunks_exact_mut(width).zip(weights) {
        row.iter_mut().for_each(|x| *x *= weight);
    }
    let scale = (before / sum(&x)) as f32;
    if !scale.is_finite() {
        return Err(Error::Request {
            option: "prompt",
            expected: "weights that leave something of the prompt".into(),
            found: "weights that cancel each other".into(),
        });
    }
    x.iter_mut().for_each(|x| *x *= scale);
    Ok(Tensor::<3>::from_data(TensorData::new(x, shape), &device).cast(dtype))
}
