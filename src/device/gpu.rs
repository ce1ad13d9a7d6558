//! Asking CubeCL's runtimes for the devices that they see. None of this starts a device.

use burn::{
    backend::{CubeDevice, DispatchDevice},
    tensor::Device,
};
use cubecl::device::{DeviceUnavailable, WgpuBackend, WgpuDevice, WgpuDeviceKind};

use super::Error;

/// See [`super::check`].
pub(super) fn check(device: &Device) -> Result<(), Error> {
    let DispatchDevice::Cube(device) = device.as_dispatch() else { return Ok(()) };
    let (found, instead) = match device {
        CubeDevice::Cuda(cuda) => {
            let instead = "install NVIDIA's driver, or choose one of the GPUs that `nvidia-smi -L` lists";
            (CubeDevice::cuda(cuda.index), instead)
        }
        CubeDevice::Wgpu(wgpu) => {
            let instead =
                "install the GPU's driver, or choose one of the GPUs that `vulkaninfo --summary` lists";
            (CubeDevice::Wgpu(wgpu.clone()).on(wgpu.backend), instead)
        }
        _ => return Ok(()), // runtimes that hypersd has no feature for
    };
    if let Err(DeviceUnavailable::NoSuchDevice { available, .. }) = found {
        return Err(Error::Missing { device: format!("{device:?}"), available, instead });
    }
    match device {
        CubeDevice::Wgpu(wgpu)
            if wgpu.kind == WgpuDeviceKind::DefaultDevice && !has_hardware(wgpu.backend) =>
        {
            Err(Error::SoftwareOnly { device: format!("{device:?}") })
        }
        #[cfg(feature = "cuda-nvrtc")]
        CubeDevice::Cuda(_) => check_nvrtc(device),
        _ => Ok(()),
    }
}

/// True for a driver of a graphics API that computes on the CPU.
#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "metal"))]
pub(super) fn is_software(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(wgpu)) if wgpu.kind == WgpuDeviceKind::Cpu)
}

/// True where a graphics API shows more than software that draws on the CPU. Whoever asks for `DeviceKind::Cpu` means it;
/// whoever leaves the choice open does not.
fn has_hardware(backend: WgpuBackend) -> bool {
    let kinds = [
        WgpuDeviceKind::DiscreteGpu(0),
        WgpuDeviceKind::IntegratedGpu(0),
        WgpuDeviceKind::VirtualGpu(0),
        WgpuDeviceKind::Other(0),
    ];
    let devices_like =
        |kind| CubeDevice::enumerate(CubeDevice::Wgpu(WgpuDevice::new(kind).on(backend)).to_id());
    kinds.into_iter().any(|kind| !devices_like(kind).is_empty())
}

/// NVRTC and the headers that CubeCL's kernels include are no part of the driver, and without them the first kernel
/// would panic.
#[cfg(feature = "cuda-nvrtc")]
fn check_nvrtc(device: &CubeDevice) -> Result<(), Error> {
    /// Included by every kernel that computes in f16.
    const HEADER: &str = "cuda_fp16.h";
    let refuse =
        |expected: String, instead| Error::NoCompiler { device: format!("{device:?}"), expected, instead };
    if !has_nvrtc() {
        return Err(refuse(
            "NVIDIA's run-time compiler, libnvrtc".into(),
            "install the CUDA toolkit's NVRTC where the loader looks (LD_LIBRARY_PATH)",
        ));
    }
    let toolkit = cubecl::cuda::install::cuda_path();
    if toolkit.as_ref().is_some_and(|toolkit| toolkit.join("include").join(HEADER).is_file()) {
        return Ok(());
    }
    let folder = toolkit.unwrap_or_else(|| "/usr/local/cuda".into()).join("include");
    Err(refuse(
        format!("the CUDA toolkit's headers, {HEADER} in {}", folder.display()),
        "install them, or set CUDA_PATH to the folder whose include/ holds them",
    ))
}

#[cfg(feature = "cuda-nvrtc")]
#[expect(
    unsafe_code,
    reason = "loading a library runs its initialisers; this one's CubeCL would load next anyway"
)]
fn has_nvrtc() -> bool {
    // SAFETY: only tries to load NVIDIA's library by its names, which has no initialisers that need anything.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}
