//! Which backend a tensor lives on.

use burn::tensor::Device;

/// Whether tensors of the device are computed by Burn's CPU backend, flex.
#[cfg(feature = "flex")]
pub(super) fn is_flex(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// Without the feature nothing is known of flex; a tensor that lives there all the same is computed as on a GPU.
#[cfg(not(feature = "flex"))]
pub(super) fn is_flex(_: &Device) -> bool {
    false
}
