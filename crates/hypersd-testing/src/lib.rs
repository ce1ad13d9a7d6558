//! What the tests of the workspace share: where they run, how fixtures are read, how numbers are compared.
//!
//! Fixtures are read with the `safetensors` crate directly, so that a fault of hypersd's own reader cannot hide
//! behind a fixture read with the same fault.
//!
//! Tests run on the CPU in f32. To run them elsewhere, build with that backend's feature of this crate and set
//! `HYPERSD_TEST_DEVICE` to `cuda`, `vulkan`, `wgpu` or `metal` (or to `vulkan-software` or `wgpu-software`, a driver that
//! computes on the CPU) and, for half precision, `HYPERSD_TEST_DTYPE` to `f16` or `bf16`. On the CPU that is what weights are stored in.
//! Nothing is skipped: a device that was not built, or that is not there, fails every test.

mod copy;
pub mod measure;
mod single_file;
mod weights;

pub use self::{copy::copy, single_file::write_single_file, weights::weights};

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

#[cfg(any(feature = "vulkan", feature = "wgpu", feature = "metal"))]
use burn::tensor::DeviceKind;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// The device that tests run on.
#[must_use]
pub fn device() -> Device {
    device_named(env::var("HYPERSD_TEST_DEVICE").as_deref().unwrap_or("flex"))
}

/// A device by the name that tests and benchmarks have for it.
///
/// # Panics
/// If there is no such name in this build.
#[must_use]
pub fn device_named(name: &str) -> Device {
    match name {
        "flex" => Device::flex(),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        "vulkan-software" => Device::vulkan(DeviceKind::Cpu),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu(DeviceKind::DefaultDevice),
        #[cfg(feature = "wgpu")]
        "wgpu-software" => Device::wgpu(DeviceKind::Cpu),
        #[cfg(feature = "metal")]
        "metal" => Device::metal(DeviceKind::DefaultDevice),
        other => panic!(
            "the device is {other:?}, expected \"flex\", or \"cuda\", \"vulkan\", \"vulkan-software\", \"wgpu\", \
             \"wgpu-software\" or \"metal\" built with that feature of hypersd-testing"
        ),
    }
}

/// True where tests run on the CPU.
#[must_use]
pub fn on_cpu() -> bool {
    device() == Device::flex()
}

/// The float type that networks under test are loaded in.
#[must_use]
pub fn dtype() -> FloatDType {
    dtype_named(env::var("HYPERSD_TEST_DTYPE").as_deref().unwrap_or("f32"))
}

/// A float type by the name that tests and benchmarks have for it.
///
/// # Panics
/// If there is no such name.
#[must_use]
pub fn dtype_named(name: &str) -> FloatDType {
    match name {
        "f32" => FloatDType::F32,
        "f16" => FloatDType::F16,
        "bf16" => FloatDType::BF16,
        other => panic!("the type is {other:?}, expected \"f32\", \"f16\" or \"bf16\""),
    }
}

/// The float type of what goes into operations and networks: on the CPU f32, whatever weights are stored in.
#[must_use]
pub fn activation_dtype() -> FloatDType {
    if on_cpu() { FloatDType::F32 } else { dtype() }
}

/// The tolerance for the type and the device in use: in f32 on the CPU as given; the half types by what their mantissas
/// leave, and f32 on GPUs as f16, because their fast products take f32 as TF32 or f16, both with a mantissa of 10 bits.
#[must_use]
pub fn tolerance(f32: f64) -> f64 {
    match dtype() {
        FloatDType::BF16 => f32.max(4e-2),
        FloatDType::F32 if on_cpu() => f32,
        _ => f32.max(5e-3),
    }
}

/// [`tolerance`] for the latents of whole pipelines, which amplify what their networks round: with nothing but the weights
/// in half precision they are off by up to 6.2e-3 in f16 and 4.0e-2 in bf16, and with products of bf16, too, by up to 8.7e-2,
/// where a guided prediction that starts from noise without any signal is rescaled.
#[must_use]
pub fn pipeline_tolerance(f32: f64) -> f64 {
    match dtype() {
        FloatDType::F32 if on_cpu() => f32,
        FloatDType::BF16 => f32.max(3.0 * tolerance(f32)),
        _ => f32.max(2.0 * tolerance(f32)),
    }
}

/// The committed fixtures of a package, by its folder in the repository: `crates/hypersd-models`, or the empty string for
/// the pipelines'. Models with random weights are among what [`weights`] gives.
#[must_use]
pub fn fixtures(package: &str) -> PathBuf {
    repository().join(package).join("tests/fixtures")
}

/// The repository. A program that was carried to another machine is told by `HYPERSD_TEST_REPOSITORY` where that is.
fn repository() -> PathBuf {
    let built_in = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::var_os("HYPERSD_TEST_REPOSITORY").map_or_else(built_in, PathBuf::from)
}

/// A tensor of a fixture file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order; integers are converted.
    pub data: Vec<f32>,
}

impl Array {
    /// The array as a float tensor of the [`activation_dtype`], on the device in use.
    #[must_use]
    pub fn tensor<const D: usize>(&self) -> Tensor<D> {
        let data = TensorData::new(self.data.clone(), self.shape.clone());
        Tensor::<D>::from_data(data, (&device(), DType::F32)).cast(activation_dtype())
    }

    /// The array as an integer tensor on the device in use.
    #[must_use]
    pub fn ids<const D: usize>(&self) -> Tensor<D, Int> {
        let ids: Vec<i32> = self.data.iter().map(|&x| x as i32).collect();
        Tensor::from_data(TensorData::new(ids, self.shape.clone()), &device())
    }
}

/// Every tensor of a safetensors fixture.
///
/// # Panics
/// If the file is not there or not readable: fixtures are committed.
#[must_use]
pub fn fixture(path: impl AsRef<Path>) -> BTreeMap<String, Array> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.iter().map(|(name, view)| (name.to_string(), array(&view))).collect()
}

fn array(view: &TensorView<'_>) -> Array {
    let bytes = view.data();
    let data = match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        Dtype::I32 => bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b) as f32).collect(),
        Dtype::U8 => bytes.iter().map(|&b| f32::from(b)).collect(),
        other => panic!("fixtures hold no {other:?}"),
    };
    Array { shape: view.shape().to_vec(), data }
}

/// `‖got − want‖ / ‖want‖`, in f64.
#[must_use]
pub fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len(), "number of elements");
    let square = |x: f64| x * x;
    let error: f64 = got.iter().zip(want).map(|(&g, &w)| square(f64::from(g) - f64::from(w))).sum();
    let norm: f64 = want.iter().map(|&w| square(f64::from(w))).sum();
    (error / norm.max(f64::MIN_POSITIVE)).sqrt()
}

/// Asserts that a tensor has the shape of the reference and is within a relative L2 distance of it.
///
/// # Panics
/// If it is not; the message names the tensor and both figures.
#[expect(clippy::print_stdout, reason = "what a test prints is shown where it fails, and with `--nocapture`")]
pub fn assert_close<const D: usize>(name: &str, got: Tensor<D>, want: &Array, tolerance: f64) {
    assert_eq!(got.dims().as_slice(), want.shape, "shape of {name}");
    let got: Vec<f32> = got.cast(FloatDType::F32).into_data().try_into_vec_as().expect("f32 data");
    assert!(got.iter().all(|x| x.is_finite()), "{name} has values that are not finite");
    let error = relative_l2(&got, &want.data);
    println!("{name}: relative L2 error {error:.1e}"); // for docs/parity.md
    assert!(error <= tolerance, "{name}: relative L2 error {error:.3e}, allowed {tolerance:.1e}");
}
