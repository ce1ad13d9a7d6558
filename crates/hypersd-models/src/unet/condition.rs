//! All that a UNet is told about the picture it shall make, and how numbers become an embedding.

use burn::tensor::{Device, FloatDType, Tensor};

use crate::{
    error::{Error, check_shape},
    layers::timestep::{Sinusoid, TimestepEmbedding},
    ops,
    unet::config::UNetConfig,
};

/// The prompt and, for SDXL, the picture's sizes, as a UNet and a ControlNet take them.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// Token embeddings, `[B, T, cross_attention_dim]`; T is 77 for one prompt.
    pub context: Tensor<3>,
    /// Pooled prompt embedding, `[B, 1280]`; for SDXL.
    pub pooled: Option<Tensor<2>>,
    /// Original height and width, top and left of the crop, target height and width, in pixels, one row for each
    /// picture of the batch; for SDXL.
    pub time_ids: Option<Vec<[f32; 6]>>,
}

impl Conditioning {
    /// Number of pictures.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.context.dims()[0]
    }

    /// The condition of no prompt at all: zeros, for pictures of the same sizes.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self {
            context: self.context.zeros_like(),
            pooled: self.pooled.as_ref().map(Tensor::zeros_like),
            time_ids: self.time_ids.clone(),
        }
    }

    /// The pictures of both, one batch after the other: for guidance, which takes the negative prompt first.
    ///
    /// # Panics
    /// If the two were not made for the same network.
    #[must_use]
    pub fn cat(self, other: Self) -> Self {
        let pooled = self.pooled.into_iter().chain(other.pooled).collect::<Vec<_>>();
        let time_ids = self.time_ids.into_iter().chain(other.time_ids).flatten().collect::<Vec<_>>();
        Self {
            context: Tensor::cat(vec![self.context, other.context], 0),
            pooled: (!pooled.is_empty()).then(|| Tensor::cat(pooled, 0)),
            time_ids: (!time_ids.is_empty()).then_some(time_ids),
        }
    }
}

/// Turns the timestep and SDXL's sizes into the embedding that every resnet of a network adds.
///
/// A network holds the two layers under diffusers' names; this borrows them.
#[derive(Debug, Clone, Copy)]
pub struct Embedder<'a> {
    /// The configuration of the network.
    pub config: &'a UNetConfig,
    /// `time_embedding`.
    pub time: &'a TimestepEmbedding,
    /// `add_embedding`, where the configuration has one.
    pub added: Option<&'a TimestepEmbedding>,
}

impl Embedder<'_> {
    /// The layers `time_embedding` and `add_embedding` of a network.
    #[must_use]
    pub fn layers(config: &UNetConfig, device: &Device) -> (TimestepEmbedding, Option<TimestepEmbedding>) {
        let width = config.time_embed_width();
        let time = TimestepEmbedding::new(config.block_out_channels[0], width, device);
        let added = config.added().map(|added| TimestepEmbedding::new(added.width, width, device));
        (time, added)
    }

    /// The embedding after its SiLU, `[B, time_embed_width]`, in the type that is computed in. Every resnet begins with
    /// that SiLU; it is computed once.
    ///
    /// `t` holds one timestep for all pictures, or one for each. Fractions are allowed.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Missing`] where the conditioning does not fit the configuration.
    pub fn embed(&self, t: &[f32], conditioning: &Conditioning) -> Result<Tensor<2>, Error> {
        let batch = conditioning.batch();
        if t.len() != 1 && t.len() != batch {
            let expected = format!("[1] or [{batch}]");
            return Err(Error::Shape { argument: "t", expected, found: vec![t.len()] });
        }
        let sinusoid = self.sinusoid(self.config.block_out_channels[0]);
        let steps = self.time.upload(sinusoid.encode(t), [t.len(), sinusoid.width]);
        let emb = self.time.forward(steps);
        let emb = match self.added {
            Some(layer) => emb + layer.forward(self.added_condition(layer, conditioning)?),
            None => emb,
        };
        let width = emb.dims()[1];
        Ok(ops::silu(emb.expand([batch, width])))
    }

    /// Pooled prompt first, then the sinusoids of the six numbers, `[B, added.width]`.
    fn added_condition(
        &self,
        layer: &TimestepEmbedding,
        conditioning: &Conditioning,
    ) -> Result<Tensor<2>, Error> {
        let missing = |argument| Error::Missing { argument, reason: "the UNet has an add_embedding (SDXL)" };
        let pooled = conditioning.pooled.clone().ok_or_else(|| missing("pooled"))?;
        let time_ids = conditioning.time_ids.as_ref().ok_or_else(|| missing("time_ids"))?;

        let batch = conditioning.batch();
        let added = self.config.added().ok_or_else(|| missing("addition_embed_type"))?;
        check_shape("pooled", pooled.dims(), [Some(batch), Some(added.pooled_width())])?;
        check_shape("time_ids", [time_ids.len(), 6], [Some(batch), Some(6)])?;

        let numbers = self.sinusoid(added.number_width).encode(time_ids.as_flattened());
        let numbers = layer.upload(numbers, [batch, 6 * added.number_width]);
        Ok(Tensor::cat(vec![pooled.cast(FloatDType::F32), numbers], 1))
    }

    fn sinusoid(&self, width: usize) -> Sinusoid {
        let UNetConfig { flip_sin_to_cos, freq_shift, .. } = *self.config;
        Sinusoid { width, flip_sin_to_cos, freq_shift }
    }
}
