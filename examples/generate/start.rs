//! The options of what drawing starts from.

use std::path::PathBuf;

use clap::Args;
use hypersd::{Error, Image, Start, StartStrength};

/// A picture to start from instead of noise.
#[derive(Debug, Args)]
pub(crate) struct StartOptions {
    /// Starts from this picture instead of from noise; repeatable with --batch, whose pictures start from them in turn
    #[arg(long = "image", id = "start_images", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// How far towards noise it is taken: the share of the --steps that are drawn, above 0 and at most 1 [default: 0.8]
    #[arg(
        long,
        value_name = "X",
        requires = "start_images",
        conflicts_with = "noise_level",
        allow_negative_numbers = true
    )]
    strength: Option<f64>,
    /// Instead of --strength: draws all --steps, from this share of the noise schedule down; for one or two steps
    #[arg(long, value_name = "X", requires = "start_images", allow_negative_numbers = true)]
    noise_level: Option<f64>,
}

impl StartOptions {
    /// Reads the pictures.
    pub(crate) fn start(&self) -> Result<Start, Error> {
        if self.images.is_empty() {
            return Ok(Start::Noise);
        }
        let images = self.images.iter().map(|path| Ok(Image::open(path)?)).collect::<Result<_, Error>>()?;
        Ok(Start::Picture { images, strength: self.strength() })
    }

    fn strength(&self) -> StartStrength {
        match (self.strength, self.noise_level) {
            (_, Some(level)) => StartStrength::Level(level),
            (Some(share), None) => StartStrength::Share(share),
            (None, None) => StartStrength::default(),
        }
    }
}
