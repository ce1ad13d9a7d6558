//! Devices by name: `cpu`, or an API with the number of one of its devices, as programs take them from a command line.

use burn::tensor::Device;
#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "metal"))]
use burn::tensor::DeviceKind;
#[cfg(feature = "_gpu")]
use burn::tensor::DeviceType;

use super::Error;

/// A device that this machine has.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listed {
    /// The name by which [`named`] finds it.
    pub name: String,
    /// What the driver calls it; `None` for the CPU.
    pub driver_name: Option<String>,
    /// The device.
    pub device: Device,
}

/// An API through which devices are reached.
struct Api {
    name: &'static str,
    /// The Cargo feature that has it.
    feature: &'static str,
    /// Its means; `None` where this build was made without it.
    means: Option<Means>,
}

/// The ways to the devices of an API.
struct Means {
    /// The device for a name without a number.
    default: fn() -> Device,
    /// The devices that compute themselves, in the order of their numbers.
    hardware: fn() -> Vec<Device>,
    /// The drivers that compute on the CPU: [`SOFTWARE`].
    software: fn() -> Vec<Device>,
}

/// The word for a driver that computes on the CPU, in a number's place.
const SOFTWARE: &str = "software";

/// Every API, whether or not it was compiled in.
fn apis() -> [Api; 5] {
    [
        Api { name: "cpu", feature: "flex", means: cpu() },
        Api { name: "cuda", feature: "cuda", means: cuda() },
        Api { name: "vulkan", feature: "vulkan", means: vulkan() },
        Api { name: "metal", feature: "metal", means: metal() },
        Api { name: "wgpu", feature: "wgpu", means: wgpu() },
    ]
}

fn cpu() -> Option<Means> {
    #[cfg(feature = "flex")]
    return Some(Means { default: Device::flex, hardware: || vec![Device::flex()], software: Vec::new });
    #[cfg(not(feature = "flex"))]
    None
}

fn cuda() -> Option<Means> {
    #[cfg(feature = "cuda")]
    return Some(Means {
        default: || Device::cuda(0),
        hardware: || Device::enumerate(DeviceType::Cuda).into_iter().collect(),
        software: Vec::new,
    });
    #[cfg(not(feature = "cuda"))]
    None
}

fn vulkan() -> Option<Means> {
    #[cfg(feature = "vulkan")]
    return Some(Means {
        default: || Device::vulkan(DeviceKind::DefaultDevice),
        hardware: || of_kind(DeviceType::Vulkan, false),
        software: || of_kind(DeviceType::Vulkan, true),
    });
    #[cfg(not(feature = "vulkan"))]
    None
}

fn metal() -> Option<Means> {
    #[cfg(feature = "metal")]
    return Some(Means {
        default: || Device::metal(DeviceKind::DefaultDevice),
        hardware: || of_kind(DeviceType::Metal, false),
        software: || of_kind(DeviceType::Metal, true),
    });
    #[cfg(not(feature = "metal"))]
    None
}

fn wgpu() -> Option<Means> {
    #[cfg(feature = "wgpu")]
    return Some(Means {
        default: || Device::wgpu(DeviceKind::DefaultDevice),
        hardware: || of_kind(DeviceType::Wgpu, false),
        software: || of_kind(DeviceType::Wgpu, true),
    });
    #[cfg(not(feature = "wgpu"))]
    None
}

/// The devices of a graphics API that compute on the CPU, or those that do not.
#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "metal"))]
fn of_kind(api: DeviceType, software: bool) -> Vec<Device> {
    let devices = Device::enumerate(api).into_iter();
    devices.filter(|device| super::gpu::is_software(device) == software).collect()
}

/// A device by its name: `cpu`; `cuda`, `vulkan`, `metal` or `wgpu` for the one that the API would choose; with a number, as
/// in `cuda:1`, the one of that number, from 0 on; `vulkan:software` or `wgpu:software` for a driver that computes on the CPU.
///
/// # Errors
/// [`Error::Unknown`] for what is no name, [`Error::NotCompiledIn`] for an API that this build has not got, and
/// [`Error::Missing`] for a number that this machine has not got. That a device without a number is there, [`check`] finds
/// out.
///
/// [`check`]: super::check
pub fn named(name: &str) -> Result<Device, Error> {
    let (api, which) = name.split_once(':').map_or((name, None), |(api, which)| (api, Some(which)));
    let unknown = || Error::Unknown { name: name.into(), known: known() };
    let Api { feature, means, .. } =
        apis().into_iter().find(|known| known.name == api).ok_or_else(unknown)?;
    let means = means.ok_or_else(|| Error::NotCompiledIn { name: api.into(), feature })?;
    let missing = |available, instead| Error::Missing { device: name.into(), available, instead };
    match which {
        None => Ok((means.default)()),
        Some(SOFTWARE) => {
            let instead = "install a software driver, such as Mesa's lavapipe, or choose another device";
            (means.software)().into_iter().next().ok_or_else(|| missing(0, instead))
        }
        Some(number) => {
            let number: usize = number.parse().map_err(|_| unknown())?;
            let mut devices = (means.hardware)();
            if number >= devices.len() {
                let instead = match devices.len() {
                    0 => "install the driver of the device, or choose another",
                    _ => "choose one of those, from number 0 on",
                };
                return Err(missing(devices.len(), instead));
            }
            Ok(devices.swap_remove(number))
        }
    }
}

/// All devices that this machine has, of the APIs that this build has, under the names by which [`named`] finds them. A card
/// is there once for each API that reaches it. Each device is started, to ask for its name.
#[must_use]
pub fn list() -> Vec<Listed> {
    let mut list = Vec::new();
    for Api { name: api, means, .. } in apis() {
        let Some(means) = means else { continue };
        let numbered = (means.hardware)().into_iter().enumerate().map(|(number, device)| {
            let name = if api == "cpu" { api.into() } else { format!("{api}:{number}") };
            (name, device)
        });
        let software =
            (means.software)().into_iter().take(1).map(|device| (format!("{api}:{SOFTWARE}"), device));
        list.extend(numbered.chain(software).map(|(name, device)| {
            let driver_name = driver_name(&device);
            Listed { name, driver_name, device }
        }));
    }
    list
}

#[cfg(feature = "_gpu")]
fn driver_name(device: &Device) -> Option<String> {
    Some(device.identity()?.name)
}

#[cfg(not(feature = "_gpu"))]
fn driver_name(_: &Device) -> Option<String> {
    None
}

/// The names without their numbers.
fn known() -> String {
    apis().map(|api| api.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_an_error_that_lists_the_names() {
        for name in ["", "gpu", "CPU", "cpu:", "cpu:x", "cpu:-1", ":0", "cuda0"] {
            let Err(error) = named(name) else { panic!("{name:?} is a device") };
            assert!(matches!(error, Error::Unknown { .. }), "{name:?}: {error:?}");
            assert!(error.to_string().contains("cpu, cuda, vulkan, metal, wgpu"), "{error}");
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn the_cpu_is_a_device_of_one() {
        assert_eq!(named("cpu"), Ok(Device::flex()));
        assert_eq!(named("cpu:0"), Ok(Device::flex()));
        assert!(matches!(named("cpu:1"), Err(Error::Missing { available: 1, .. })));
        assert!(matches!(named("cpu:software"), Err(Error::Missing { available: 0, .. })));
        let cpu = &list()[0];
        assert_eq!((cpu.name.as_str(), &cpu.driver_name, &cpu.device), ("cpu", &None, &Device::flex()));
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_device_that_was_not_compiled_in_says_with_what_it_would_be() {
        for name in ["cuda", "cuda:1"] {
            let error = named(name).expect_err("no CUDA").to_string();
            assert!(error.contains("--features cuda"), "{error}");
        }
    }

    #[test]
    fn each_listed_device_is_found_by_its_name() {
        for Listed { name, device, .. } in list() {
            assert_eq!(named(&name), Ok(device), "{name}");
        }
    }
}
