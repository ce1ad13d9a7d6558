//! What a request will take of memory, before anything is loaded.

use burn::tensor::Device;
use hypersd_controlnet::ControlNet;
use hypersd_models::clip::ClipTextModel;

use super::{Numbers, Part, Parts, PipelineBuilder};
use crate::{
    Error, MemoryEstimate, Request,
    draw::Denoiser,
    memory::{Share, Shares, weights},
};

impl PipelineBuilder {
    /// The memory that a request takes at most on a device, with all that was said to the builder.
    /// [`MemoryEstimate::check`] compares it with what there is, before the weights are loaded.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn memory(&self, request: &Request, device: &Device) -> Result<MemoryEstimate, Error> {
        let plan = self.plan(request)?;
        let (dtype, parts) = (self.dtype, &self.parts);
        let Numbers { denoiser: products, others, others_dtype } =
            Numbers::choose(dtype, self.products, device);
        let models = || [parts].into_iter().chain(&self.refiner);
        let mut text = Vec::new();
        for (_, part) in models().map(Parts::text).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            text.push(weights(&ClipTextModel::new(&part.config, device)?, others_dtype, others));
        }
        let unets = models().map(|parts| {
            let config = &parts.unet()?.config;
            Ok(Share { config, weights: weights(&Denoiser::new(config, device)?, dtype, products) })
        });
        let controlnets = self.controlnets.iter().map(|Part { config, .. }| {
            Ok(Share { config, weights: weights(&ControlNet::new(config, device)?, dtype, products) })
        });
        let autoencoder = &parts.vae()?.config;
        let autoencoder_stored = autoencoder.stored(others_dtype, device, parts.profile.upcast_vae);
        let [encoder, decoder] = autoencoder.sizes(autoencoder_stored, device)?;
        let shares = Shares {
            text,
            unets: unets.collect::<Result<_, Error>>()?,
            controlnets: controlnets.collect::<Result<_, Error>>()?,
            autoencoder,
            encoder,
            decoder,
            stored: [dtype, autoencoder_stored],
            device,
            tiled: self.tiled_vae,
            low_memory: self.low_memory,
            loaded: false,
        };
        Ok(shares.estimate(request, &plan))
    }
}
