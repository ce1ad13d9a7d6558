//! What networks ask of a device beside their operations.

use burn::tensor::Device;

#[cfg(feature = "flex")]
use super::cpu::memory;
#[cfg(feature = "flex")]
use crate::backend::is_flex;

/// Runs a network's operations on a device. On the CPU every one of them shares its work among the threads of the current
/// rayon pool, which need not be woken for each if `run` itself is one of them.
#[cfg_attr(not(feature = "flex"), expect(unused_variables, reason = "only the CPU has a pool"))]
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
        memory::release();
        hypersd_kernels::release_scratch();
    }
    // What fails on the device is reported to whoever reads the result.
    let _ = device.sync();
    device.memory_cleanup();
}

/// Bytes that tensors of a device take, with what is kept of those that are gone. On the CPU; what a GPU's allocator holds it
/// says itself.
#[must_use]
#[cfg_attr(not(feature = "flex"), expect(unused_variables, reason = "only the CPU's are counted here"))]
pub fn held_memory(device: &Device) -> u64 {
    #[cfg(feature = "flex")]
    if is_flex(device) {
        return memory::held();
    }
    0
}
