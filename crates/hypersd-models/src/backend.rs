//! Which backend a tensor lives on, and what that means for its type.

use burn::tensor::{Device, FloatDType};

/// The type that a network computes in whose weights are stored as `stored` on a device: the same type, but f32 on the
/// CPU. There half precision only saves memory: kernels widen weights as they read them.
#[must_use]
pub fn activation_dtype(stored: FloatDType, device: &Device) -> FloatDType {
    if is_flex(device) { FloatDType::F32 } else { stored }
}

/// True where tensors of the device are computed by Burn's CPU backend, flex.
#[cfg(feature = "flex")]
pub(crate) fn is_flex(device: &Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Flex(_))
}

/// Without the feature nothing is known of flex; a tensor that lives there all the same is computed as on a GPU.
#[cfg(not(feature = "flex"))]
pub(crate) fn is_flex(_: &Device) -> bool {
    false
}

/// True where a device is the CPU, whose memory is the machine's.
#[must_use]
pub fn is_cpu(device: &Device) -> bool {
    is_flex(device)
}
