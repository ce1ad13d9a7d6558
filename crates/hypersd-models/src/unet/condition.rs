//! All that a UNet is told about the picture it shall make, and how numbers become an embedding.

use burn::tensor::{Device, FloatDType, Tensor};

use crate::{
    error::{Error, cat, check_shape},
    layers::{
        context::Context,
        timestep::{Sinusoid, TimestepEmbedding},
    },
    ops,
    unet::config::{AddedCondition, UNetConfig},
};

/// The prompt and, for SDXL, the picture's numbers, as a UNet and a ControlNet take them.
#[derive(Debug, Clone)]
pub struct Conditioning {
    context: Context,
    added: Option<Added>,
    /// The guidance scale, for networks that were distilled to take it as an input.
    guidance: Option<f32>,
}

/// The conditions that join the time embedding (diffusers' `added_cond_kwargs`).
#[derive(Debug, Clone)]
struct Added {
    /// `[B, pooled width]`
    pooled: Tensor<2>,
    /// One row for each picture.
    time_ids: Vec<Vec<f32>>,
}

impl Conditioning {
    /// A condition by attention alone, which is all that SD1.5 takes.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, added: None, guidance: None }
    }

    /// Adds the conditions that SDXL takes beside the context.
    ///
    /// `time_ids` are numbers about the picture, in pixels, one row for each picture of the batch: original height and
    /// width, top and left of the crop, target height and width. SDXL's refiner takes five: an aesthetic score in the
    /// place of the target size.
    ///
    /// # Shapes
    /// - pooled `[B, pooled width]`, the pooled states of the prompts; 1280 for SDXL
    #[must_use]
    pub fn with_added(self, pooled: Tensor<2>, time_ids: Vec<Vec<f32>>) -> Self {
        Self { added: Some(Added { pooled, time_ids }), ..self }
    }

    /// Tells the guidance scale to a network that takes it as an input (`time_cond_proj_dim`). Others do not read it.
    #[must_use]
    pub fn with_guidance(self, scale: f32) -> Self {
        Self { guidance: Some(scale), ..self }
    }

    /// Number of pictures.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.context.batch()
    }

    /// The pictures of both, one batch after the other, on the device and in the type of the first: for guidance, which
    /// takes the negative prompt first.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Missing`] if the two were not made for the same network.
    pub fn cat(self, other: Self) -> Result<Self, Error> {
        let added = match (self.added, other.added) {
            (None, None) => None,
            (Some(first), Some(second)) => Some(Added {
                pooled: cat("pooled", first.pooled, second.pooled)?,
                time_ids: [first.time_ids, second.time_ids].concat(),
            }),
            _ => return Err(missing("one of two conditionings has it")),
        };
        Ok(Self { context: self.context.cat(other.context)?, added, guidance: self.guidance })
    }
}

fn missing(reason: &'static str) -> Error {
    Error::Missing { argument: "the added condition (pooled, time_ids)", reason }
}

/// Turns the timestep and SDXL's added condition into the embedding that every resnet of a network adds.
///
/// A network holds the two layers under diffusers' names; this borrows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Embedder<'a> {
    /// The configuration of the network.
    pub(crate) config: &'a UNetConfig,
    /// `time_embedding`.
    pub(crate) time: &'a TimestepEmbedding,
    /// `add_embedding`, where the configuration has one.
    pub(crate) added: Option<&'a TimestepEmbedding>,
}

impl Embedder<'_> {
    /// The layers `time_embedding` and `add_embedding` of a network.
    pub(crate) fn layers(
        config: &UNetConfig,
        device: &Device,
    ) -> (TimestepEmbedding, Option<TimestepEmbedding>) {
        let width = config.time_embed_width();
        let d_in = config.block_out_channels[0];
        let time = TimestepEmbedding::new(d_in, width, device);
        let time = time.with_guidance(config.time_cond_proj_dim, d_in, device);
        let added = config.added().map(|added| TimestepEmbedding::new(added.width, width, device));
        (time, added)
    }

    /// The inputs of a network as its blocks take them: checked against the configuration and each other, `x` and the
    /// context in the type that is computed in, the timestep and the added condition as an embedding.
    ///
    /// # Shapes
    /// - x `[B, in_channels, h, w]` → x, emb `[B, time_embed_width]`, context
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Missing`] for inputs that do not fit.
    pub(crate) fn prepare(
        &self,
        x: Tensor<4>,
        t: &[f32],
        conditioning: &Conditioning,
    ) -> Result<(Tensor<4>, Tensor<2>, Context), Error> {
        let (channels, width) = (self.config.in_channels, self.config.cross_attention_dim.at(0));
        check_shape("x", x.dims(), [None, Some(channels), None, None])?;
        let dtype = self.time.dtype();
        let context = conditioning.context.prepare(x.dims()[0], width, dtype)?;
        let emb = self.embed(t, conditioning)?;
        Ok((x.cast(dtype), emb, context))
    }

    /// The embedding after its SiLU, `[B, time_embed_width]`, in the type that is computed in. Every resnet begins with
    /// that SiLU; it is computed once.
    ///
    /// `t` holds one timestep for all pictures, or one for each. Fractions are allowed.
    fn embed(&self, t: &[f32], conditioning: &Conditioning) -> Result<Tensor<2>, Error> {
        let batch = conditioning.batch();
        if t.len() != 1 && t.len() != batch {
            let expected = format!("[1] or [{batch}]");
            return Err(Error::Shape { argument: "t", expected, found: vec![t.len()] });
        }
        let sinusoid = self.sinusoid(self.config.block_out_channels[0]);
        let steps = self.time.upload(sinusoid.encode(t), [t.len(), sinusoid.width]);
        let steps = match (self.config.time_cond_proj_dim, conditioning.guidance) {
            (Some(width), Some(scale)) => self.time.add_guidance(steps, width, &[scale]),
            _ => steps,
        };
        let emb = self.time.forward(steps);
        let emb = match self.added.zip(self.config.added()) {
            Some((layer, widths)) => {
                emb + layer.forward(self.added_condition(layer, widths, conditioning)?)
            }
            None => emb,
        };
        let width = emb.dims()[1];
        Ok(ops::silu(emb.expand([batch, width])))
    }

    /// Pooled prompt first, then the sinusoids of the picture's numbers, `[B, widths.width]`.
    fn added_condition(
        &self,
        layer: &TimestepEmbedding,
        widths: AddedCondition,
        conditioning: &Conditioning,
    ) -> Result<Tensor<2>, Error> {
        let reason = "the network has an add_embedding (SDXL)";
        let Added { pooled, time_ids } = conditioning.added.as_ref().ok_or_else(|| missing(reason))?;
        let batch = conditioning.batch();
        let numbers = numbers(widths, batch, pooled.dims(), time_ids)?;

        let sinusoids = self.sinusoid(widths.number_width).encode(&time_ids.concat());
        let sinusoids = layer.upload(sinusoids, [batch, numbers * widths.number_width]);
        let pooled = pooled.clone().cast(FloatDType::F32);
        Ok(Tensor::cat(vec![pooled, sinusoids], 1))
    }

    fn sinusoid(&self, width: usize) -> Sinusoid {
        let UNetConfig { flip_sin_to_cos, freq_shift, .. } = *self.config;
        Sinusoid { width, flip_sin_to_cos, freq_shift }
    }
}

/// The count of numbers of each picture: as many as the network has room for beside this pooled prompt.
fn numbers(
    widths: AddedCondition,
    batch: usize,
    pooled: [usize; 2],
    time_ids: &[Vec<f32>],
) -> Result<usize, Error> {
    let AddedCondition { width, number_width } = widths;
    check_shape("pooled", pooled, [Some(batch), None])?;
    let Some(numbers) = widths.numbers(pooled[1]) else {
        let expected = format!("[{batch}, {width} less a multiple of {number_width}]");
        return Err(Error::Shape { argument: "pooled", expected, found: pooled.to_vec() });
    };
    let odd = time_ids.iter().map(Vec::len).find(|&n| n != numbers);
    if time_ids.len() != batch || odd.is_some() {
        let expected = format!("[{batch}, {numbers}] beside a pooled prompt of {}", pooled[1]);
        let found = vec![time_ids.len(), odd.unwrap_or(numbers)];
        return Err(Error::Shape { argument: "time_ids", expected, found });
    }
    Ok(numbers)
}
