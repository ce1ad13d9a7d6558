//! Which backend a tensor lives on.

use burn::tensor::Device;

/// Whether tensors of the device are computed by Burn's CPU backend, flex.
///
/// Burn has no question for it that compiles without the backend's feature, so its name is asked.
pub(super) fn is_flex(device: &Device) -> bool {
    format!("{:?}", device.as_dispatch()).starts_with("Flex")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flex_is_known_by_name() {
        assert!(is_flex(&Device::flex()));
    }
}
