//! Knowledge of a device before and after a program computes there.
//!
//! Devices are Burn's and are made with its constructors ([`Device::flex`], `Device::cuda(0)`,
//! `Device::vulkan(Default::default())`), which ask nothing of the machine, or found by [name](named) among those that the
//! machine [has](list). Where a device is missing, Burn finds out
//! with the first operation and panics in a thread of its own; [`check`] finds out before.

use burn::tensor::{Device, FloatDType};

#[cfg(feature = "_gpu")]
mod gpu;
mod name;

pub use name::{Listed, list, named};

/// A device that this machine, or this build, cannot give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no device has.
    #[error(
        "no device {name:?}: expected one of {known}, with the number of one of its devices where there are several, as in \
         cuda:1"
    )]
    Unknown {
        /// The name that was given.
        name: String,
        /// The names without their numbers.
        known: String,
    },
    /// An API that this program was built without.
    #[error("no device {name}: this program was built without it; build with `--features {feature}`")]
    NotCompiledIn {
        /// The name that was given, without a number.
        name: String,
        /// The Cargo feature that adds it.
        feature: &'static str,
    },
    /// There is no such device, or no driver that would show it.
    #[error("no device {device}: this machine has {available} of that kind; {instead}")]
    Missing {
        /// The device that was asked for, as Burn writes it.
        device: String,
        /// The number of devices of the kind: from 1 on, the index is what is wrong.
        available: usize,
        /// The way out.
        instead: &'static str,
    },
    /// The kind is there, but computed by the CPU: a stand-in for testing, slower than hypersd on the CPU by itself, and in
    /// older versions wrong.
    #[error(
        "no device {device}: this machine has only a software driver for it; install the GPU's own driver, or use \
         the CPU by itself"
    )]
    SoftwareOnly {
        /// The device that was asked for, as Burn writes it.
        device: String,
    },
    /// The device does not compute in a type of floats.
    #[error(
        "device {device} does not compute in {dtype}: load the model in another type, which f32 always is"
    )]
    NoType {
        /// The device that was asked for, as Burn writes it.
        device: String,
        /// The type that was asked for.
        dtype: String,
    },
    /// The device is there, but not what compiles kernels for it.
    #[error("device {device}: expected {expected}, found none; {instead}")]
    NoCompiler {
        /// The device that was asked for, as Burn writes it.
        device: String,
        /// The compiler that is missing.
        expected: String,
        /// The way out.
        instead: &'static str,
    },
}

/// Memory of a device, as its allocator counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes that tensors occupy now.
    pub in_use: u64,
    /// Bytes that the allocator has taken from the device, with what it keeps to give out again.
    pub reserved: u64,
    /// The most bytes that it has ever held, counting the peak of each of its pools; trying out kernels counts too.
    pub peak: u64,
}

/// Makes sure that the machine has a device, and what it takes to compile for it. The CPU is always there.
///
/// [`PipelineBuilder::load`](crate::PipelineBuilder::load) does this by itself; a program that works for long before it
/// loads asks earlier.
///
/// # Errors
/// [`Error`], which says what is missing and what to do.
#[cfg_attr(
    not(feature = "_gpu"),
    expect(unused_variables, reason = "without a GPU backend there is only the CPU")
)]
pub fn check(device: &Device) -> Result<(), Error> {
    #[cfg(feature = "_gpu")]
    gpu::check(device)?;
    Ok(())
}

/// Makes sure that a device computes in a type of floats, or, where it is the CPU, that weights may be kept in it. Starts the
/// device.
///
/// [`PipelineBuilder::load`](crate::PipelineBuilder::load) does this by itself.
///
/// # Errors
/// [`Error::NoType`]
pub fn check_dtype(device: &Device, dtype: FloatDType) -> Result<(), Error> {
    if device.supports_dtype(dtype) {
        return Ok(());
    }
    Err(Error::NoType { device: format!("{device:?}"), dtype: format!("{dtype:?}").to_lowercase() })
}

/// The memory of a device that this process has, or `None` where nobody counts: on the CPU. Waits for what the device
/// still has to compute.
#[must_use]
pub fn memory(device: &Device) -> Option<Memory> {
    let usage = device.memory_pool_usage()?;
    let pools = device.memory_pool_report().unwrap_or_default();
    let given_back: u64 = pools.iter().map(|pool| (pool.pages_peak - pool.pages) * pool.page_size).sum();
    Some(Memory {
        in_use: usage.bytes_in_use,
        reserved: usage.bytes_reserved,
        peak: usage.bytes_reserved + given_back,
    })
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_nobody_counts_its_memory() {
        assert_eq!(check(&Device::flex()), Ok(()));
        assert_eq!(memory(&Device::flex()), None);
        for dtype in [FloatDType::F32, FloatDType::F16, FloatDType::BF16] {
            assert_eq!(check_dtype(&Device::flex(), dtype), Ok(()));
        }
    }
}
