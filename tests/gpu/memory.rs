//! The memory that operations take on a device beside their inputs and results, as its allocator counts it.

use burn::tensor::{DType, Tensor};
use hypersd::{Device, device::memory};
use hypersd_core::{HostTensor, LoadOptions, MemorySource, load};
use hypersd_models::{
    ops::{self, Conv2d},
    parameters,
};
use hypersd_testing::{activation_dtype, device, dtype};

/// Where an allocator's pages end.
const PAGES: u64 = 4 << 20;

/// Bytes that the allocator has taken from the device for `op`, with those of its result; none where nobody counts. The
/// allocator has them from a first run, in which kernels are tried.
fn taken<const D: usize>(op: impl Fn() -> Tensor<D>) -> Option<u64> {
    let device = device();
    drop(op());
    device.sync().expect("a device that works");
    device.memory_cleanup();
    let before = memory(&device)?.reserved;
    let out = op();
    let after = memory(&device)?.reserved; // waits for what is to be computed
    drop(out);
    Some(after - before)
}

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::<D>::zeros(shape, (&device(), DType::F32)).cast(activation_dtype())
}

fn bytes(elements: usize) -> u64 {
    (elements * DType::from(activation_dtype()).size()) as u64
}

/// The VAE's attention at 512x512: its scores would be 64 MiB in f32.
#[test]
fn wide_heads_hold_no_scores() {
    let [q, k, v] = [(); 3].map(|()| zeros([1, 4096, 512]));
    let Some(taken) = taken(|| ops::attention(q.clone(), k.clone(), v.clone(), 1)) else { return };
    let result = bytes(4096 * 512);
    assert!(taken <= result + PAGES, "{taken} bytes for a result of {result}");
}

/// Of a picture of 256x256 a matrix of patches would be nine times as large as the picture. What is allowed beside the result
/// is the picture once more, with its channels last.
#[test]
fn convolutions_hold_no_matrix_of_patches() {
    const SIDE: usize = 256;
    let blank = Conv2d::new([64, 64], 3, &Device::flex()).with_padding([(1, 1); 2]);
    let numbers = |shape: Vec<usize>| HostTensor::from_f32(shape.clone(), vec![0.01; shape.iter().product()]);
    let source: MemorySource =
        parameters(&blank).into_iter().map(|(name, shape)| (name, numbers(shape))).collect();
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: &[] };
    let layer = load(blank, &source, &options).expect("numbers for each parameter");
    let x = zeros([1, 64, SIDE, SIDE]);
    let Some(taken) = taken(|| ops::conv2d(x.clone(), &layer)) else { return };
    let result = bytes(64 * SIDE * SIDE);
    assert!(taken <= 2 * result + PAGES, "{taken} bytes for a result of {result}");
}
