//! Families of models: whose architecture a file was made for.

/// A family of models. Weights, LoRAs and ControlNets of one do not fit another's, whatever their size.
///
/// Only the name is here. What a family's networks are like is said once, beside the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL, and what was trained from it.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
    /// Stable Diffusion 3.
    Sd3,
    /// FLUX.
    Flux,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sd1 => "Stable Diffusion 1.x",
            Self::Sd2 => "Stable Diffusion 2.x",
            Self::Sdxl => "Stable Diffusion XL",
            Self::SdxlRefiner => "the Stable Diffusion XL refiner",
            Self::Sd3 => "Stable Diffusion 3",
            Self::Flux => "FLUX",
        })
    }
}
