//! Which backend a tensor lives on, and what that means for its type.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, FloatDType, Tensor},
};
use hypersd_core::WeightOrder;

/// The type that a network computes in whose weights are stored as `stored` on a device: the same type, but f32 on the
/// CPU. There half precision only saves memory: kernels widen weights as they read them.
#[must_use]
pub fn activation_dtype(stored: FloatDType, device: &Device) -> FloatDType {
    if is_flex(device) { FloatDType::F32 } else { stored }
}

/// The [`activation_dtype`] of a network, by any of its parameters.
pub(crate) fn dtype_beside<const D: usize>(param: &Param<Tensor<D>>) -> FloatDType {
    let param = param.val();
    activation_dtype(param.dtype().into(), &param.device())
}

/// The order in which the operations want a network's weights on a device: in panels on the CPU, whose kernels then read
/// them where they are. They take Burn's order too, only slower.
#[must_use]
pub fn weight_order(device: &Device) -> WeightOrder {
    if is_flex(device) { WeightOrder::Panels } else { WeightOrder::Burn }
}

/// Runs a network's operations on a device. On the CPU every one of them shares its work among the threads of the current
/// rayon pool, which need not be woken for each if `run` itself is one of them.
pub(crate) fn in_pool<R: Send>(device: &Device, run: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    if is_flex(device) {
        return hypersd_kernels::in_pool(run);
    }
    run()
}

/// Lets a device give back what it keeps of memory that networks have let go: a GPU holds it for tensors of the same
/// size to come, and so does the CPU, whose kernels hold what they work in besides.
///
/// Waits until the device has computed what it was asked to, for only then can it do without the weights.
pub fn release_memory(device: &Device) {
    #[cfg(feature = "flex")]
    {
        super::cpu::memory::release();
        hypersd_kernels::release_scratch();
    }
    // What fails on the device is reported to whoever reads the result.
    let _ = device.sync();
    device.memory_cleanup();
}

/// A layer with all its parameters in the type of its input, for operations of Burn, which know only one.
pub(super) fn in_type<M: Module>(layer: &M, dtype: DType) -> M {
    struct InType(DType);
    impl ModuleMapper for InType {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            Param::initialized(param.id, param.val().cast(self.0))
        }
    }
    layer.clone().map(&mut InType(dtype))
}

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
