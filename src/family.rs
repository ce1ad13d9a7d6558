//! Which family a UNet belongs to.

use hypersd_lora::Family;
use hypersd_models::unet::{PerLevel, UNetConfig};

/// From what the families differ in by design, not in size, so that small models count as what they are small
/// copies of: SDXL adds pooled text and sizes to the time embedding, its refiner reads 1280 channels of text, and
/// Stable Diffusion 2 projects with dense layers where 1 has convolutions.
pub(crate) fn family(config: &UNetConfig) -> Family {
    match config.addition_embed_type {
        Some(_) if config.cross_attention_dim == PerLevel::All(1280) => Family::SdxlRefiner,
        Some(_) => Family::Sdxl,
        None if config.use_linear_projection => Family::Sd2,
        None => Family::Sd1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_known_in_any_size() {
        let text_time = || Some("text_time".to_string());
        let small = |width| UNetConfig {
            block_out_channels: vec![32, 64],
            cross_attention_dim: PerLevel::All(width),
            ..UNetConfig::default()
        };
        assert_eq!(family(&UNetConfig::sd15()), Family::Sd1);
        assert_eq!(family(&UNetConfig::sdxl()), Family::Sdxl);
        assert_eq!(family(&small(64)), Family::Sd1);
        assert_eq!(family(&UNetConfig { use_linear_projection: true, ..small(1024) }), Family::Sd2);
        let sdxl = UNetConfig { use_linear_projection: true, addition_embed_type: text_time(), ..small(64) };
        assert_eq!(family(&sdxl), Family::Sdxl);
        let refiner = UNetConfig { cross_attention_dim: PerLevel::All(1280), ..sdxl };
        assert_eq!(family(&refiner), Family::SdxlRefiner);
    }
}
