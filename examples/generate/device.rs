//! From the names of the command line to a Burn device and type.

#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
use std::path::PathBuf;
use std::{error::Error, fmt};

use hypersd::{Device, FloatDType, device};

use crate::options::{DeviceName, DtypeName};

/// A device whose backend this program was built without.
#[derive(Debug)]
pub(crate) struct NotCompiledIn(&'static str);

impl fmt::Display for NotCompiledIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "--device {name}: this program was built without it; build with `cargo run --features {name} …`"
        )
    }
}

impl Error for NotCompiledIn {}

/// The device, which this machine has, and the type of the weights: f32 on the CPU, f16 elsewhere, unless said otherwise.
pub(crate) fn choose(
    name: DeviceName,
    dtype: Option<DtypeName>,
) -> Result<(Device, FloatDType), Box<dyn Error>> {
    let dtype = match dtype {
        Some(DtypeName::F32) => FloatDType::F32,
        Some(DtypeName::F16) => FloatDType::F16,
        Some(DtypeName::Bf16) => FloatDType::BF16,
        None if name == DeviceName::Cpu => FloatDType::F32,
        None => FloatDType::F16,
    };
    let device = named(name)?;
    #[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
    if name != DeviceName::Cpu {
        keep_kernels()?;
    }
    device::check(&device).map_err(|error| format!("--device {name}: {error}"))?;
    Ok((device, dtype))
}

/// Keeps compiled kernels beside what other programs keep, so that only the first picture of a size waits for them.
#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
fn keep_kernels() -> Result<(), hypersd::cache::Error> {
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    match own.or_else(|| Some(std::env::home_dir()?.join(".cache"))) {
        Some(caches) => hypersd::cache::set_directory(caches.join("hypersd/kernels")),
        None => Ok(()), // nobody's home: CubeCL finds a place
    }
}

fn named(name: DeviceName) -> Result<Device, NotCompiledIn> {
    match name {
        #[cfg(feature = "flex")]
        DeviceName::Cpu => Ok(Device::flex()),
        #[cfg(not(feature = "flex"))]
        DeviceName::Cpu => Err(NotCompiledIn("flex")),
        #[cfg(feature = "vulkan")]
        DeviceName::Vulkan => Ok(Device::vulkan(Default::default())),
        #[cfg(not(feature = "vulkan"))]
        DeviceName::Vulkan => Err(NotCompiledIn("vulkan")),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => Ok(Device::wgpu(Default::default())),
        #[cfg(not(feature = "wgpu"))]
        DeviceName::Wgpu => Err(NotCompiledIn("wgpu")),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => Ok(Device::cuda(0)),
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda => Err(NotCompiledIn("cuda")),
    }
}
