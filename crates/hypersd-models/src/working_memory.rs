//! The memory that the networks' activations take, by arithmetic over their configurations: what a request is weighed with
//! before it is drawn.
//!
//! Counted are the tensors that live at the same time where they are the most, as the networks' `forward` functions hold
//! them; what has few elements (time embeddings, states of prompts, weights that are widened) is not.

use burn::tensor::{DType, Device, FloatDType};

use crate::{
    activation_dtype, backend::is_flex, controlnet::ControlNetConfig, tiny_vae::TinyVaeConfig,
    unet::UNetConfig, vae::VaeConfig,
};

/// Tensors of an attention site at a time, in images of its channels: its input, the tokens, their norm, and queries, keys
/// and values. Feed-forwards, whose middle is wider, compute it some rows at a time on the CPU; elsewhere values and gates
/// stand beside the tokens at eight times the channels.
const SITE: u64 = 6;
const SITE_ON_GPU: u64 = 15;

fn site(device: &Device) -> u64 {
    if is_flex(device) { SITE } else { SITE_ON_GPU }
}

/// Elements of activations that live at the same time.
struct Live {
    /// Skip connections, which wait for the way up.
    held: u64,
    /// The most so far.
    most: u64,
}

impl Live {
    fn new() -> Self {
        Self { held: 0, most: 0 }
    }

    fn hold(&mut self, elements: u64) {
        self.held += elements;
        self.most = self.most.max(self.held);
    }

    fn let_go(&mut self, elements: u64) {
        self.held -= elements;
    }

    /// Counts an operation that needs `elements` beside what is held.
    fn need(&mut self, elements: u64) {
        self.most = self.most.max(self.held.saturating_add(elements));
    }
}

/// The owner of a residual block's input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// The block alone: where the shortcut is a convolution's, the norm writes into it.
    Own,
    /// The block alone, in two parts: a skip connection comes with it.
    Joined,
    /// Somebody else, too, for whom it stays.
    Shared,
}

/// The most elements of a residual block per pixel of its image. In front of the first convolution there are its input, the
/// shortcut and what is normalised; behind it the shortcut, what is normalised and the result.
fn resnet(c_in: u64, c_out: u64, input: Input) -> u64 {
    let convolves = c_in != c_out; // else the input is the shortcut
    let shortcut = if convolves { c_out } else { 0 };
    let normalised = if convolves && input == Input::Own { 0 } else { c_in };
    let kept = if convolves && input != Input::Shared { 0 } else { c_in };
    (c_in + shortcut + normalised).max(kept + shortcut + c_in + c_out)
}

/// Bytes of so many elements in the type that is computed in, with what is kept for the next tensors: on the CPU the memory of
/// tensors that are gone, up to as much as was ever used.
fn bytes(elements: u64, stored: FloatDType, device: &Device) -> u64 {
    let size = DType::from(activation_dtype(stored, device)).size() as u64;
    elements.saturating_mul(size).saturating_mul(if is_flex(device) { 2 } else { 1 })
}

fn wide(number: usize) -> u64 {
    number as u64
}

/// Pixels of a level whose image is halved so often, rounded up as the UNet rounds.
fn pixels([h, w]: [usize; 2], level: usize) -> u64 {
    let halved = |side: usize| wide(side).div_ceil(1 << level);
    halved(h).saturating_mul(halved(w))
}

impl UNetConfig {
    /// Bytes that activations take at most while [`UNet::forward`](crate::unet::UNet::forward) computes `batch` latents of
    /// `size`, height and width, beside weights stored as `stored` on a device.
    #[must_use]
    pub fn working_memory(&self, batch: usize, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let (mut live, site) = (Live::new(), site(device));
        self.count_way_down(&mut live, size, site);
        self.count_way_up(&mut live, size, site);
        bytes(live.most.saturating_mul(wide(batch)), stored, device)
    }

    fn channels(&self, level: usize) -> u64 {
        wide(self.block_out_channels[level])
    }

    /// Every block's result is held as a skip connection.
    fn count_way_down(&self, live: &mut Live, size: [usize; 2], site: u64) {
        live.hold(self.channels(0).saturating_mul(pixels(size, 0)));
        for level in 0..self.levels() {
            let (c, pixels_here) = (self.channels(level), pixels(size, level));
            for layer in 0..self.layers_per_block.at(level) {
                let c_in = if layer == 0 { self.channels(level.saturating_sub(1)) } else { c };
                live.need((resnet(c_in, c, Input::Shared) - c_in) * pixels_here);
                if self.attends_down(level) {
                    live.need(site * c * pixels_here);
                }
                live.hold(c * pixels_here);
            }
            if level + 1 < self.levels() {
                live.hold(c * pixels(size, level + 1));
            }
        }
        let last = self.levels() - 1;
        live.need(site.max(3) * self.channels(last) * pixels(size, last));
    }

    /// Every resnet takes the last of the skip connections.
    fn count_way_up(&self, live: &mut Live, size: [usize; 2], site: u64) {
        let mut skips = self.skip_channels();
        let mut c_in = self.channels(self.levels() - 1);
        for level in (0..self.levels()).rev() {
            let (c, pixels_here) = (self.channels(level), pixels(size, level));
            for _ in 0..=self.layers_per_block.at(level) {
                let skip = skips.pop().map_or(0, wide);
                live.let_go(skip * pixels_here);
                live.need(resnet(c_in + skip, c, Input::Joined) * pixels_here);
                if self.attends_up(level) {
                    live.need(site * c * pixels_here);
                }
                c_in = c;
            }
            if level > 0 {
                live.need(c * (pixels_here + pixels(size, level - 1)));
            }
        }
    }
}

impl ControlNetConfig {
    /// Bytes that a ControlNet's activations take at most for `batch` latents of `size`, those that it adds to the UNet's
    /// included: as the UNet's way down, and its skip connections once more.
    #[must_use]
    pub fn working_memory(&self, batch: usize, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let live = self.live(size, device);
        let hint = 3 * self.conditioning_embedding_out_channels.first().map_or(0, |&c| wide(c));
        let hint = hint.saturating_mul(pixels(size.map(|side| side * self.pixels_per_latent()), 0));
        let most = live.most.max(2 * live.held).saturating_mul(wide(batch));
        bytes(most.max(hint), stored, device)
    }

    /// Bytes of what a ControlNet adds to the UNet's, which stays while the UNet computes.
    #[must_use]
    pub fn residuals_memory(
        &self,
        batch: usize,
        size: [usize; 2],
        stored: FloatDType,
        device: &Device,
    ) -> u64 {
        bytes(self.live(size, device).held.saturating_mul(wide(batch)), stored, device)
    }

    fn live(&self, size: [usize; 2], device: &Device) -> Live {
        let mut live = Live::new();
        self.unet.count_way_down(&mut live, size, site(device));
        live
    }
}

impl VaeConfig {
    /// Bytes that activations take at most while [`Decoder::decode`](crate::vae::Decoder::decode) makes one picture of latents
    /// of `size`, height and width, beside weights stored as `stored` on a device.
    #[must_use]
    pub fn decoding_memory(&self, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let most = (0..self.levels()).map(|level| {
            let pixels = enlarged(size, self.levels() - 1 - level);
            let c = wide(self.block_out_channels[level]);
            let c_in = wide(self.block_out_channels[(level + 1).min(self.levels() - 1)]);
            let resnets = resnet(c_in, c, Input::Own).max(resnet(c, c, Input::Own));
            let upsampler = if level > 0 { 5 * c } else { 0 };
            resnets.max(upsampler).saturating_mul(pixels)
        });
        bytes(most.max().unwrap_or(0).max(self.attention(size)), stored, device)
    }

    /// [`decoding_memory`](Self::decoding_memory) in tiles, beside which the picture itself is put together twice.
    #[must_use]
    pub fn tiled_decoding_memory(&self, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let tile = (self.sample_size / self.factor()).max(1);
        if size.iter().all(|&side| side <= tile) {
            return self.decoding_memory(size, stored, device);
        }
        let picture = wide(self.out_channels).saturating_mul(enlarged(size, self.levels() - 1));
        let tile = self.decoding_memory(size.map(|side| side.min(tile)), stored, device);
        tile.saturating_add(bytes(2 * picture, stored, device))
    }

    /// Bytes that activations take at most while [`Encoder::encode`](crate::vae::Encoder::encode) reads one picture that
    /// becomes latents of `size`, height and width.
    #[must_use]
    pub fn encoding_memory(&self, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let most = (0..self.levels()).map(|level| {
            let pixels = enlarged(size, self.levels() - 1 - level);
            let c = wide(self.block_out_channels[level]);
            let c_in = wide(self.block_out_channels[level.saturating_sub(1)]);
            resnet(c_in, c, Input::Own).max(resnet(c, c, Input::Own)).saturating_mul(pixels)
        });
        bytes(most.max().unwrap_or(0).max(self.attention(size)), stored, device)
    }

    /// Elements of the middle's attention: input, norm, queries, keys, values, result, and one of them in another order.
    fn attention(&self, size: [usize; 2]) -> u64 {
        let widest = self.block_out_channels[self.levels() - 1];
        let attends = u64::from(self.mid_block_add_attention);
        (attends * 7 * wide(widest)).saturating_mul(pixels(size, 0))
    }
}

impl TinyVaeConfig {
    /// Bytes that activations take at most while one picture of latents of `size` is made or read, on either way: a block's
    /// input, what a convolution reads and what it writes.
    #[must_use]
    pub fn working_memory(&self, size: [usize; 2], stored: FloatDType, device: &Device) -> u64 {
        let channels = self.encoder_block_out_channels.iter().chain(&self.decoder_block_out_channels);
        let widest = channels.copied().max().map_or(0, wide);
        let pixels = enlarged(size, self.num_encoder_blocks.len().saturating_sub(1));
        bytes(3 * widest.saturating_mul(pixels), stored, device)
    }
}

/// Pixels of latents of `[h, w]` enlarged so often.
fn enlarged([h, w]: [usize; 2], times: usize) -> u64 {
    wide(h).saturating_mul(wide(w)).saturating_mul(1 << (2 * times))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    const F32: FloatDType = FloatDType::F32;

    /// Sums by hand, over what `forward` has at the same time, of 4 bytes each and as much again that is kept.
    #[test]
    fn the_most_is_where_it_was_counted_by_hand() {
        let device = Device::flex();
        let pixels = 512 * 512;
        // The first resnet at full size: its shortcut, what is normalised, and the convolution's result.
        let (shortcut, normalised, result) = (128 * pixels, 256 * pixels, 128 * pixels);
        let decoding = VaeConfig::sd15().decoding_memory([64, 64], F32, &device);
        assert_eq!(decoding, 8 * (shortcut + normalised + result));
        // The resnets at full size, whose shortcut is their input.
        let encoding = VaeConfig::sd15().encoding_memory([64, 64], F32, &device);
        assert_eq!(encoding, 8 * 3 * 128 * pixels);
        // The first resnet of the last up block: 640 and 320 channels with their skip connection's before and after the norm,
        // the shortcut, and two skip connections of 320 that wait.
        let cells = 64 * 64;
        let step = UNetConfig::sd15().working_memory(1, [64, 64], F32, &device);
        assert_eq!(step, 8 * cells * (2 * (640 + 320) + 320 + 2 * 320));
        assert_eq!(TinyVaeConfig::default().working_memory([64, 64], F32, &device), 8 * 3 * 64 * pixels);
    }

    #[test]
    fn tiles_take_what_one_of_them_takes_and_the_picture() {
        let (config, device) = (VaeConfig::sd15(), Device::flex());
        let decode = |size| config.tiled_decoding_memory(size, F32, &device);
        assert_eq!(decode([64, 48]), config.decoding_memory([64, 48], F32, &device), "one tile");
        let picture = 3 * 2048 * 1024;
        assert_eq!(decode([256, 128]), config.decoding_memory([64, 64], F32, &device) + 8 * 2 * picture);
    }

    #[test]
    fn what_no_machine_has_is_no_overflow() {
        let (huge, device) = ([1 << 30, 1 << 30], Device::flex());
        assert_eq!(VaeConfig::sdxl().decoding_memory(huge, F32, &device), u64::MAX);
        assert!(UNetConfig::sdxl().working_memory(1024, [1 << 20; 2], F32, &device) > 1 << 50);
    }
}
