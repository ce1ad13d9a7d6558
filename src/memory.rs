//! The memory that drawing takes, weighed before it is asked for: nothing that runs out of memory on the way can say so.

use burn::tensor::{DType, Device, FloatDType};
use hypersd_core::{Products, Slots, available_memory};
use hypersd_models::{
    controlnet::ControlNetConfig, held_memory, is_cpu, parameters, unet::UNetConfig, vae::VaeConfig,
};

use crate::{
    Error, Request, Start,
    draw::{AutoencoderConfig, Plan},
};

/// Bytes beside the weights while they are read: a window of tensors as the file has them, and as the network will.
const LOADING: u64 = 128 << 20;

/// The memory that a request takes of its device at most, by arithmetic over the shapes of the networks: see
/// [`Pipeline::memory`](crate::Pipeline::memory). Of the published models it is within a quarter of what is measured; the
/// program itself, files that are mapped and pictures that the caller holds are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryEstimate {
    /// Bytes of the weights that are in memory when the most is taken.
    pub weights: u64,
    /// Bytes of activations at that time, with what is kept of tensors that are gone.
    pub working: u64,
    /// Bytes that the process holds of both already.
    held: u64,
    /// True where all of this is the machine's memory, of which it is known how much there is.
    on_cpu: bool,
    /// What would take less, with the bytes that it would take.
    savings: Vec<(&'static str, u64)>,
}

impl MemoryEstimate {
    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.working)
    }

    /// Makes sure that there is so much: of the machine's memory and swap, within the limits of the process's control group
    /// and address space. On a GPU, whose drivers do not say how much there is, always.
    ///
    /// # Errors
    /// [`Error::Memory`], with the figures and with what would take less.
    pub fn check(&self) -> Result<(), Error> {
        match available_memory().filter(|_| self.on_cpu) {
            Some(available) => self.check_against(available),
            None => Ok(()),
        }
    }

    fn check_against(&self, available: u64) -> Result<(), Error> {
        let needed = self.total();
        if needed <= available.saturating_add(self.held) {
            return Ok(());
        }
        let savings = self.savings.iter().filter(|(_, bytes)| *bytes < needed / 10 * 9);
        let mut instead: Vec<_> = savings.map(|(how, bytes)| format!("{} {how}", Bytes(*bytes))).collect();
        instead.push("less for a smaller picture or batch".into());
        let instead = instead.join(", ");
        Err(Error::Memory { needed, available, instead })
    }
}

/// A number of bytes, to be read.
pub(crate) struct Bytes(pub(crate) u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (giga, mega) = (1e9, 1e6);
        let bytes = self.0 as f64;
        if bytes < giga { write!(f, "{:.0} MB", bytes / mega) } else { write!(f, "{:.1} GB", bytes / giga) }
    }
}

/// A network's share: how much its weights take, and how to know what its activations do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share<'a, C> {
    pub(crate) config: &'a C,
    pub(crate) weights: u64,
}

/// All networks of a model, as far as memory goes.
#[derive(Debug)]
pub(crate) struct Shares<'a> {
    pub(crate) text: Vec<u64>,
    /// The model's, and that of the refiner, where there is one.
    pub(crate) unets: Vec<Share<'a, UNetConfig>>,
    pub(crate) controlnets: Vec<Share<'a, ControlNetConfig>>,
    pub(crate) autoencoder: &'a AutoencoderConfig,
    pub(crate) encoder: u64,
    pub(crate) decoder: u64,
    /// The type that weights are kept in, and that of the autoencoder's.
    pub(crate) stored: [FloatDType; 2],
    pub(crate) device: &'a Device,
    pub(crate) tiled: bool,
    /// True where networks take turns.
    pub(crate) low_memory: bool,
    /// True where those that stay are there already.
    pub(crate) loaded: bool,
}

/// Bytes of a network's weights: those of layers that multiply in 8 bits are kept so.
pub(crate) fn weights<N: Slots + Clone>(blank: &N, stored: FloatDType, products: Products) -> u64 {
    let wide = DType::from(stored).size() as u64;
    let bytes = |(_, shape): (String, Vec<usize>)| {
        let elements: u64 = shape.iter().map(|&n| n as u64).product();
        elements * if products == Products::Int8 && shape.len() > 1 { 1 } else { wide }
    };
    parameters(blank).into_iter().map(bytes).sum()
}

/// A time at which some of the networks are needed.
#[derive(Debug, Clone, Copy)]
struct Stage {
    weights: u64,
    working: u64,
}

impl Shares<'_> {
    /// What drawing by a plan takes.
    pub(crate) fn estimate(&self, request: &Request, plan: &Plan) -> MemoryEstimate {
        let drawing = Drawing::of(request, plan);
        let most = self.most(&drawing, self.low_memory, self.tiled);
        let on_cpu = is_cpu(self.device);
        let ways =
            [("in low memory", true, false), ("with a tiled VAE", false, true), ("with both", true, true)];
        // Ways that are not gone already; both only where neither is nearly as good.
        let ways =
            ways.into_iter().filter(|&(_, low, tiled)| !(low && self.low_memory || tiled && self.tiled));
        let savings = ways.map(|(how, low, tiled)| {
            let most = self.most(&drawing, low || self.low_memory, tiled || self.tiled);
            (how, most.weights.saturating_add(most.working))
        });
        let mut savings: Vec<_> = savings.collect();
        if let [.., (_, one), (_, other), (_, both)] = savings[..]
            && both > one.min(other) / 10 * 9
        {
            savings.pop();
        }
        MemoryEstimate {
            weights: most.weights,
            working: most.working,
            held: if self.loaded { self.held(&drawing) } else { 0 },
            on_cpu,
            savings,
        }
    }

    /// What decoding one picture of latents of `size` takes.
    pub(crate) fn estimate_decoding(&self, size: [usize; 2]) -> MemoryEstimate {
        let working = self.decoding(size, self.tiled);
        MemoryEstimate {
            weights: self.decoder,
            working,
            held: held_memory(self.device) + if self.low_memory { 0 } else { self.decoder },
            on_cpu: is_cpu(self.device),
            savings: vec![("with a tiled VAE", self.decoder + self.decoding(size, true))],
        }
    }

    /// The weights that stay and the memory that is kept for tensors.
    fn held(&self, drawing: &Drawing) -> u64 {
        let weights = if self.low_memory { 0 } else { self.all(drawing) - self.encoder_of(drawing) };
        weights + held_memory(self.device)
    }

    fn encoder_of(&self, drawing: &Drawing) -> u64 {
        if drawing.encodes { self.encoder } else { 0 }
    }

    /// The weights of all networks that the drawing takes.
    fn all(&self, drawing: &Drawing) -> u64 {
        let controlnets: u64 = self.controlnets.iter().map(|net| net.weights).sum();
        let text: u64 = self.text.iter().sum();
        let unets: u64 = self.unets.iter().map(|unet| unet.weights).sum();
        text + unets + controlnets + self.decoder + self.encoder_of(drawing)
    }

    /// The stage that takes the most.
    fn most(&self, drawing: &Drawing, low_memory: bool, tiled: bool) -> Stage {
        let stages = self.stages(drawing, tiled);
        let largest = |stages: Vec<Stage>| {
            stages.into_iter().max_by_key(|stage| stage.weights.saturating_add(stage.working))
        };
        let stage = if low_memory {
            largest(stages)
        } else {
            let weights = self.all(drawing);
            largest(stages.into_iter().map(|stage| Stage { weights, ..stage }).collect())
        };
        stage.unwrap_or(Stage { weights: 0, working: 0 })
    }

    fn stages(&self, drawing: &Drawing, tiled: bool) -> Vec<Stage> {
        let Drawing { size, batch, rows, .. } = *drawing;
        let [stored, _] = self.stored;
        let mut stages: Vec<_> =
            self.text.iter().map(|&weights| Stage { weights, working: LOADING }).collect();
        if drawing.encodes {
            stages.push(Stage { weights: self.encoder, working: self.encoding(size) });
        }
        let mut controlnets: &[_] = &self.controlnets; // they guide the model's own UNet
        for unet in &self.unets {
            let nets = || controlnets.iter();
            let residuals = nets().map(|net| net.config.residuals_memory(rows, size, stored, self.device));
            let control = nets().map(|net| net.config.working_memory(rows, size, stored, self.device));
            let working = unet.config.working_memory(rows, size, stored, self.device);
            let working =
                working.saturating_add(residuals.max().unwrap_or(0)).max(control.max().unwrap_or(0));
            let weights = unet.weights + nets().map(|net| net.weights).sum::<u64>();
            stages.push(Stage { weights, working: working.max(LOADING) });
            controlnets = &[];
        }
        let pictures = drawing.pixels.saturating_mul(3 * batch as u64);
        let decoding = self.decoding(size, tiled).saturating_add(pictures).max(LOADING);
        stages.push(Stage { weights: self.decoder, working: decoding });
        stages
    }

    fn encoding(&self, size: [usize; 2]) -> u64 {
        let [_, stored] = self.stored;
        match self.autoencoder {
            AutoencoderConfig::Kl(config) => config.encoding_memory(size, stored, self.device),
            AutoencoderConfig::Tiny(config) => config.working_memory(size, stored, self.device),
        }
    }

    fn decoding(&self, size: [usize; 2], tiled: bool) -> u64 {
        let [_, stored] = self.stored;
        let decode = if tiled { VaeConfig::tiled_decoding_memory } else { VaeConfig::decoding_memory };
        match self.autoencoder {
            AutoencoderConfig::Kl(config) => decode(config, size, stored, self.device),
            AutoencoderConfig::Tiny(config) => config.working_memory(size, stored, self.device),
        }
    }
}

/// A request, as far as memory goes.
#[derive(Debug)]
struct Drawing {
    /// Height and width of the latents.
    size: [usize; 2],
    /// Pixels of a picture.
    pixels: u64,
    batch: usize,
    /// Latents that the denoiser is given at a time: with guidance two or three for each picture.
    rows: usize,
    /// True where a picture is to be encoded first.
    encodes: bool,
}

impl Drawing {
    fn of(request: &Request, plan: &Plan) -> Self {
        let [batch, _, h, w] = plan.latents;
        let conditions = match request.start {
            _ if !request.is_guided() => 1,
            Start::Change { .. } => 3,
            _ => 2,
        };
        let [height, width] = plan.size;
        Self {
            size: [h, w],
            pixels: height as u64 * width as u64,
            batch,
            rows: batch * conditions,
            encodes: !matches!(request.start, Start::Noise),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(weights: u64, working: u64, held: u64) -> MemoryEstimate {
        let savings = vec![("in low memory", 700 << 20), ("with a tiled VAE", u64::MAX)];
        MemoryEstimate { weights, working, held, on_cpu: true, savings }
    }

    #[test]
    fn what_is_held_already_need_not_be_there_again() {
        let estimate = estimate(3_000, 1_000, 3_000);
        assert_eq!(estimate.total(), 4_000);
        estimate.check_against(1_000).expect("the rest is there");
        estimate.check_against(999).expect_err("too little");
    }

    #[test]
    fn a_refusal_says_how_much_and_what_would_take_less() {
        let error = estimate(4_000_000_000, 1_300_000_000, 0).check_against(2_000_000_000);
        let message = error.expect_err("more than there is").to_string();
        assert!(message.contains("5.3 GB") && message.contains("2.0 GB"), "{message}");
        assert!(message.contains("734 MB in low memory, less for"), "{message}");
        assert!(!message.contains("tiled"), "{message}");
    }

    #[test]
    fn nobody_knows_what_a_gpu_has() {
        let all = MemoryEstimate { on_cpu: false, ..estimate(u64::MAX, 0, 0) };
        all.check().expect("nothing to compare with");
    }
}
