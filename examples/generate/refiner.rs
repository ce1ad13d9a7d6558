//! The options of a refiner.

use std::path::PathBuf;

use clap::Args;
use hypersd::Refine;

/// A second model for the last steps.
#[derive(Debug, Args)]
pub(crate) struct RefinerOptions {
    /// SDXL: a second model, which takes over in the last steps; a folder in diffusers' layout, a file, or owner/name on
    /// the Hugging Face hub
    #[arg(long, value_name = "DIR|FILE|ID")]
    pub(crate) refiner: Option<PathBuf>,
    /// The share of the noise schedule at which the refiner takes over, above 0 and below 1 [default: 0.8]
    #[arg(long, value_name = "F", requires = "refiner", allow_negative_numbers = true)]
    switch_at: Option<f64>,
}

impl RefinerOptions {
    /// Where the refiner takes over, where there is one.
    pub(crate) fn refine(&self) -> Option<Refine> {
        self.refiner.as_ref()?;
        let Refine { switch_at, .. } = Refine::default();
        Some(Refine { switch_at: self.switch_at.unwrap_or(switch_at), ..Refine::default() })
    }
}
