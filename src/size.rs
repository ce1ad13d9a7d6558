//! The picture size that a model was made for.

use hypersd_core::Component;
use serde::Deserialize;

use crate::{Error, request::VAE_SCALE};

/// `sample_size` of a UNet's `config.json`, in latent cells: one number, or height and width.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Square(usize),
    HeightWidth([usize; 2]),
}

#[derive(Deserialize)]
struct Config {
    sample_size: Option<SampleSize>,
}

/// SD1.5's own: 512 pixels.
const SD15: SampleSize = SampleSize::Square(64);

/// Height and width in pixels that a UNet's configuration names, or 512 for one that names none.
pub(crate) fn native_size(unet: &Component) -> Result<[usize; 2], Error> {
    let cells = match unet.config::<Config>()?.sample_size.unwrap_or(SD15) {
        SampleSize::Square(side) => [side, side],
        SampleSize::HeightWidth(size) => size,
    };
    Ok(cells.map(|side| side.saturating_mul(VAE_SCALE)))
}
