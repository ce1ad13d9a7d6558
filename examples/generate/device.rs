//! From the names of the command line to a Burn device and type.

#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
use std::path::PathBuf;
use std::{error::Error, fmt};

use clap::ValueEnum;
use hypersd::{Device, FloatDType, Products, device};

/// `--dtype`.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum DtypeName {
    F32,
    F16,
    Bf16,
    Q8,
}

/// A device that cannot be had.
#[derive(Debug)]
pub(crate) struct Refused {
    name: String,
    error: device::Error,
}

impl Refused {
    /// True where no machine would have it.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self.error, device::Error::Unknown { .. } | device::Error::NotCompiledIn { .. })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--device {}: {}", self.name, self.error)
    }
}

impl Error for Refused {}

/// int8 asked of a GPU.
#[derive(Debug)]
pub(crate) struct CpuOnly {
    name: String,
}

impl fmt::Display for CpuOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--dtype q8 is for the cpu, and --device is {}: leave it out for f16", self.name)
    }
}

impl Error for CpuOnly {}

/// The type of the weights, and what is multiplied if that does not follow from it.
pub(crate) type Numbers = (FloatDType, Option<Products>);

/// The device, which this machine has, and the type of the weights: f32 on the CPU, f16 elsewhere, unless said otherwise.
pub(crate) fn choose(name: &str, dtype: Option<DtypeName>) -> Result<(Device, Numbers), Box<dyn Error>> {
    let refused = |error| Refused { name: name.into(), error };
    let device = device::named(name).map_err(refused)?;
    let on_cpu = name.starts_with("cpu");
    if dtype == Some(DtypeName::Q8) && !on_cpu {
        return Err(Box::new(CpuOnly { name: name.into() }));
    }
    let products = (dtype == Some(DtypeName::Q8)).then_some(Products::Int8);
    let dtype = match dtype {
        Some(DtypeName::F32 | DtypeName::Q8) => FloatDType::F32,
        Some(DtypeName::F16) => FloatDType::F16,
        Some(DtypeName::Bf16) => FloatDType::BF16,
        None if on_cpu => FloatDType::F32,
        None => FloatDType::F16,
    };
    #[cfg(any(feature = "vulkan", feature = "wgpu", feature = "cuda"))]
    if !on_cpu {
        keep_kernels()?;
    }
    device::check(&device).map_err(refused)?;
    Ok((device, (dtype, products)))
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

/// `--list-devices`: each device with the name that its driver has for it.
pub(crate) fn table() -> String {
    let row = |device: device::Listed| match device.driver_name {
        Some(driver_name) => format!("{:<16} {driver_name}\n", device.name),
        None => format!("{}\n", device.name),
    };
    device::list().into_iter().map(row).collect()
}
