//! The network from latents to predicted noise.

use burn::{
    nn::GroupNorm,
    tensor::{Device, Tensor},
};
use hypersd_core::slots;

use crate::{
    error::{Error, check_shape},
    layers::{Conv2d, context::Context, conv3x3, group_norm, timestep::TimestepEmbedding},
    ops,
    unet::{
        blocks::{DownBlock, MidBlock, UpBlock},
        condition::{Conditioning, Embedder},
        config::UNetConfig,
        residuals::Residuals,
    },
};

/// diffusers' `UNet2DConditionModel`. Field names are diffusers' names, so that parameter paths are its keys.
#[derive(Debug, Clone)]
pub struct UNet {
    conv_in: Conv2d,
    time_embedding: TimestepEmbedding,
    add_embedding: Option<TimestepEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    config: UNetConfig,
}

slots!(UNet {
    conv_in, time_embedding, add_embedding, down_blocks, mid_block, up_blocks, conv_norm_out, conv_out; config
});

impl UNet {
    /// A network whose parameters wait to be loaded; nothing is allocated yet.
    ///
    /// # Errors
    /// [`Error::Config`] for what [`UNetConfig::validate`] refuses.
    pub fn new(config: &UNetConfig, device: &Device) -> Result<Self, Error> {
        config.validate()?;
        let channels = config.block_out_channels[0];
        let (time_embedding, add_embedding) = Embedder::layers(config, device);
        Ok(Self {
            conv_in: conv3x3(config.in_channels, channels, device),
            time_embedding,
            add_embedding,
            down_blocks: DownBlock::all(config, device),
            mid_block: config.has_mid().then(|| MidBlock::new(config, device)),
            up_blocks: UpBlock::all(config, device),
            conv_norm_out: group_norm(config.norm_num_groups, channels, config.norm_eps, device),
            conv_out: conv3x3(channels, config.out_channels, device),
            config: config.clone(),
        })
    }

    /// The configuration that the network was built from.
    #[must_use]
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The network's prediction for latents `x` at timestep `t`: noise, velocity or the sample, as it was trained.
    ///
    /// `t` holds one timestep for the batch, or one for each picture; it may have a fraction. Inputs are cast to
    /// the type that is [computed in](crate::activation_dtype), which is also that of the output.
    ///
    /// # Shapes
    /// - x `[B, in_channels, h, w]`, any h and w → `[B, out_channels, h, w]`
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Missing`] for inputs that do not fit the configuration or each other.
    pub fn forward(
        &self,
        x: Tensor<4>,
        t: &[f32],
        conditioning: &Conditioning,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        let (x, emb, context) = self.prepare(x, t, conditioning)?;
        ops::in_pool(&x.device(), || self.predict(x, &emb, &context, residuals))
    }

    fn predict(
        &self,
        x: Tensor<4>,
        emb: &Tensor<2>,
        context: &Context,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor<4>, Error> {
        let mut x = ops::conv2d(x, &self.conv_in);
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, emb, context, &mut skips);
        }
        if let Some(block) = &self.mid_block {
            x = block.forward(x, emb, context);
        }
        if let Some(residuals) = residuals {
            (x, skips) = add_residuals(x, skips, residuals)?;
        }
        for block in &self.up_blocks {
            x = block.forward(x, emb, context, &mut skips);
        }
        Ok(ops::conv2d(ops::group_norm_silu(x, &self.conv_norm_out), &self.conv_out))
    }

    /// Checks the inputs against the configuration and brings them to the type that is computed in.
    fn prepare(
        &self,
        x: Tensor<4>,
        t: &[f32],
        conditioning: &Conditioning,
    ) -> Result<(Tensor<4>, Tensor<2>, Context), Error> {
        let (time, added) = (&self.time_embedding, self.add_embedding.as_ref());
        Embedder { config: &self.config, time, added }.prepare(x, t, conditioning)
    }
}

/// Adds a ControlNet's tensors: to all skips, after the whole way down, and to the middle block's output.
fn add_residuals(
    mid: Tensor<4>,
    skips: Vec<Tensor<4>>,
    residuals: &Residuals,
) -> Result<(Tensor<4>, Vec<Tensor<4>>), Error> {
    if residuals.down.len() != skips.len() {
        let expected = format!("{} tensors", skips.len());
        let found = vec![residuals.down.len()];
        return Err(Error::Shape { argument: "residuals.down", expected, found });
    }
    let sum = |argument, x: Tensor<4>, residual: &Tensor<4>| {
        check_shape(argument, residual.dims(), x.dims().map(Some))?;
        let residual = residual.clone().cast(x.dtype());
        Ok(ops::add(x, residual))
    };
    let skips = skips.into_iter().zip(&residuals.down);
    let skips = skips.map(|(skip, residual)| sum("residuals.down", skip, residual));
    Ok((sum("residuals.mid", mid, &residuals.mid)?, skips.collect::<Result<_, Error>>()?))
}

#[cfg(test)]
mod tests;
