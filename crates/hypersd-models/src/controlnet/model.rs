//! The network from latents and a hint to residuals.

use burn::tensor::{Device, FloatDType, Tensor};
use hypersd_core::slots;

use crate::{
    controlnet::{
        config::{ChannelOrder, ControlNetConfig},
        hint::{Hint, HintEncoder},
        scale::ResidualScale,
    },
    error::Error,
    layers::{Conv2d, context::Context, conv1x1, conv3x3, timestep::TimestepEmbedding},
    ops,
    unet::{
        Conditioning, Residuals,
        blocks::{DownBlock, MidBlock},
        condition::Embedder,
    },
};

/// diffusers' `ControlNetModel`. Field names are diffusers' names, so that parameter paths are its keys.
#[derive(Debug, Clone)]
pub struct ControlNet {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    controlnet_cond_embedding: HintEncoder,
    down_blocks: Vec<DownBlock>,
    controlnet_down_blocks: Vec<Conv2d>,
    mid_block: MidBlock,
    controlnet_mid_block: Conv2d,
    config: ControlNetConfig,
}

slots!(ControlNet {
    conv_in, time_embedding, add_embedding, controlnet_cond_embedding, down_blocks, controlnet_down_blocks, mid_block,
    controlnet_mid_block; config
});

impl ControlNet {
    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`ControlNetConfig::validate`] refuses.
    pub fn new(config: &ControlNetConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let unet = &config.unet;
        let (first, last) = (unet.block_out_channels[0], unet.block_out_channels[unet.levels() - 1]);
        let zero_conv = |c: usize| conv1x1(c, c, device);
        let (time_embedding, add_embedding) = Embedder::layers(unet, device);
        Ok(Self {
            conv_in: conv3x3(unet.in_channels, first, device),
            time_embedding,
            add_embedding,
            controlnet_cond_embedding: HintEncoder::new(config, device),
            down_blocks: DownBlock::all(unet, device),
            controlnet_down_blocks: unet.skip_channels().into_iter().map(zero_conv).collect(),
            mid_block: MidBlock::new(unet, device),
            controlnet_mid_block: zero_conv(last),
            config: config.clone(),
        })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// The device of the weights, where the inputs have to be.
    #[must_use]
    pub fn device(&self) -> Device {
        self.conv_in.device().clone()
    }

    /// Encodes control images of the size of the pictures to be made, one for each picture of a batch or one for all.
    /// Use the hint at every step.
    ///
    /// # Shapes
    /// - pixels `[B, 3, H, W]`, RGB in [0, 1] → `[B, C, H/8, W/8]`
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of channels, and sides that are no multiples of 8.
    pub fn hint(&self, pixels: Tensor<4>) -> Result<Hint, Error> {
        let multiple = self.config.pixels_per_latent();
        let [batch, channels, h, w] = pixels.dims();
        let fits = |side: usize| side > 0 && side.is_multiple_of(multiple);
        if batch == 0 || channels != 3 || !fits(h) || !fits(w) {
            let expected = format!("[any, 3, a multiple of {multiple}, a multiple of {multiple}]");
            let found = pixels.dims().to_vec();
            return Err(Error::Shape { argument: "control image", expected, found });
        }
        let pixels = match self.config.controlnet_conditioning_channel_order {
            ChannelOrder::Rgb => pixels,
            ChannelOrder::Bgr => pixels.flip([1]),
        };
        Ok(Hint(self.controlnet_cond_embedding.forward(pixels.cast(self.dtype()))))
    }

    /// The tensors that the UNet adds to its own for latents `x` at timestep `t`, under the same conditioning as the UNet's.
    ///
    /// `x` and `t` are as in [`UNet::forward`](crate::unet::UNet::forward). The hint's batch is that of `x`, or 1, or divides it: a hint for B
    /// pictures serves a guided batch of 2 B. The residuals are of the type that is computed in.
    ///
    /// # Shapes
    /// - x `[B, in_channels, h, w]`, hint `[B, C, h, w]`
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Missing`] for inputs that do not fit the configuration or each other,
    /// [`hypersd_core::Error::Argument`] for a scale that is not finite.
    pub fn forward(
        &self,
        x: Tensor<4>,
        t: &[f32],
        conditioning: &Conditioning,
        hint: &Hint,
        scale: ResidualScale,
    ) -> Result<Residuals, Error> {
        scale.validate()?;
        let (x, emb, context) = self.prepare(x, t, conditioning)?;
        let [batch, _, h, w] = x.dims();
        let hint = hint.for_batch([batch, h, w])?;

        Ok(ops::in_pool(&x.device(), || {
            let mut x = ops::conv2d_add(x, &self.conv_in, hint);
            let mut skips = vec![x.clone()];
            for block in &self.down_blocks {
                x = block.forward(x, &emb, &context, &mut skips);
            }
            x = self.mid_block.forward(x, &emb, &context);
            self.residuals(skips, x, scale)
        }))
    }

    /// A 1x1 convolution of every skip and of the middle, each times its factor.
    fn residuals(&self, skips: Vec<Tensor<4>>, mid: Tensor<4>, scale: ResidualScale) -> Residuals {
        let pool = self.config.global_pool_conditions;
        let guess_mode = scale.guess_mode && !pool;
        let factors = ResidualScale { guess_mode, ..scale }.factors(skips.len());
        let residual = |x: Tensor<4>, conv: &Conv2d, factor: f32| {
            let shape = x.dims();
            let x = ops::conv2d(x, conv) * factor;
            if pool { x.mean_dim(3).mean_dim(2).expand(shape) } else { x }
        };
        let mid = residual(mid, &self.controlnet_mid_block, factors[skips.len()]);
        let down = skips.into_iter().zip(&self.controlnet_down_blocks).zip(factors);
        Residuals { down: down.map(|((x, conv), factor)| residual(x, conv, factor)).collect(), mid }
    }

    /// Checks the inputs against the configuration and brings them to the type that is computed in.
    fn prepare(
        &self,
        x: Tensor<4>,
        t: &[f32],
        conditioning: &Conditioning,
    ) -> Result<(Tensor<4>, Tensor<2>, Context), Error> {
        let (time, added) = (&self.time_embedding, self.add_embedding.as_ref());
        Embedder { config: &self.config.unet, time, added }.prepare(x, t, conditioning)
    }

    fn dtype(&self) -> FloatDType {
        self.conv_in.activation_dtype()
    }
}
