//! Every operation of the networks in the shapes that full-size SD1.5 and SDXL have, against the CPU in f32. The tiny
//! networks of the other tests do not meet the kernels that GPUs have for large ones.

use burn::{
    nn::{GroupNormConfig, LayerNormConfig},
    tensor::{DType, Device, FloatDType, Tensor, TensorData},
};
use hypersd_core::{HostTensor, LoadOptions, MemorySource, Slots, load};
use hypersd_models::{
    ops::{self, Conv2d, Linear},
    parameters,
};
use hypersd_testing::{Array, activation_dtype, assert_close, device, dtype, tolerance};

/// Sums of up to 11520 products of about unit variance, in another order.
const F32: f64 = 2e-5;

/// Numbers that look random, of unit variance.
fn numbers<const D: usize>(seed: u32, shape: [usize; D]) -> Tensor<D> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 1.732
    };
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(numbers, shape), (&Device::flex(), DType::F32))
}

/// Takes an input from the CPU to the device and the type that is computed in.
fn input<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    Tensor::<D>::from_data(x.clone().into_data(), (&device(), DType::F32)).cast(activation_dtype())
}

/// A layer on the CPU in f32, and the same on the device in the type in use, with numbers of a variance that leaves what
/// they are multiplied with as large as it was.
fn layers<N: Slots + Clone>(blank: N) -> [N; 2] {
    let tensor = |(seed, (name, shape)): (usize, (String, Vec<usize>))| {
        let numbers = numbers(seed as u32 + 10, [shape.iter().product()]);
        let inputs: usize = shape[1..].iter().product();
        let numbers = (numbers / (inputs as f64).sqrt()).into_data().try_into_vec_as().expect("f32");
        (name, HostTensor::from_f32(shape, numbers))
    };
    let source: MemorySource = parameters(&blank).into_iter().enumerate().map(tensor).collect();
    [(Device::flex(), FloatDType::F32), (device(), dtype())].map(|(device, dtype)| {
        let options = LoadOptions { device, dtype, ignore: &[] };
        load(blank.clone(), &source, &options).expect("numbers for each parameter")
    })
}

fn assert_same<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>) {
    assert_eq!(FloatDType::from(got.dtype()), activation_dtype(), "type of {name}");
    let shape = want.dims().to_vec();
    let want = Array { shape, data: want.into_data().try_into_vec_as().expect("f32") };
    assert_close(name, got, &want, tolerance(F32));
}

#[test]
fn attention() {
    for (name, [b, s, t, width], heads) in [
        ("SD1.5, 64x64, with itself", [2, 4096, 4096, 320], 8),
        ("SD1.5, 32x32, with itself", [2, 1024, 1024, 640], 8),
        ("SD1.5, 16x16, with itself", [2, 256, 256, 1280], 8),
        ("SD1.5, 8x8, with itself", [2, 64, 64, 1280], 8),
        ("SD1.5, 65x63, with itself", [1, 4095, 4095, 320], 8),
        ("SD1.5, 64x64, with the prompt", [2, 4096, 77, 320], 8),
        ("SDXL, 64x64, with itself", [1, 4096, 4096, 640], 10),
        ("SDXL, 32x32, with itself", [1, 1024, 1024, 1280], 20),
        ("SDXL, 32x32, with the prompt", [1, 1024, 77, 1280], 20),
        ("VAE, 64x64", [1, 4096, 4096, 512], 1),
    ] {
        let [q, k, v] = [(1, s), (2, t), (3, t)].map(|(seed, n)| numbers(seed, [b, n, width]));
        let got = ops::attention(input(&q), input(&k), input(&v), heads);
        assert_same(name, got, ops::attention(q, k, v, heads));
    }
}

#[test]
fn causal_attention() {
    for (name, width, heads) in [("CLIP-L", 768, 12), ("OpenCLIP bigG", 1280, 20)] {
        let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, [2, 77, width]));
        let got = ops::causal_attention(input(&q), input(&k), input(&v), heads);
        assert_same(name, got, ops::causal_attention(q, k, v, heads));
    }
}

#[test]
fn convolutions() {
    let same = [(1, 1); 2];
    for (name, [c_in, c_out], [kernel, stride, side], padding) in [
        ("into the UNet", [4, 320], [3, 1, 64], same),
        ("SD1.5, 64x64", [320, 320], [3, 1, 64], same),
        ("SD1.5, after a skip", [960, 320], [3, 1, 64], same),
        ("SD1.5, 8x8", [1280, 1280], [3, 1, 8], same),
        ("halving", [320, 320], [3, 2, 64], same),
        ("halving in the VAE", [128, 128], [3, 2, 64], [(0, 1); 2]),
        ("1x1", [960, 320], [1, 1, 64], [(0, 0); 2]),
        ("out of the VAE", [128, 3], [3, 1, 256], same),
    ] {
        let blank = Conv2d::new([c_in, c_out], kernel, &Device::flex());
        let [layer, there] = layers(blank.with_stride(stride).with_padding(padding));
        let x = numbers(1, [1, c_in, side, side]);
        let want = ops::conv2d(x.clone(), &layer);
        assert_same(name, ops::conv2d(input(&x), &there), want.clone());

        let shift = numbers(2, [1, c_out]);
        let got = ops::conv2d_shift(input(&x), &there, input(&shift));
        assert_same(name, got, ops::conv2d_shift(x.clone(), &layer, shift));
        let residual = numbers(3, want.dims());
        let got = ops::conv2d_add(input(&x), &there, input(&residual));
        assert_same(name, got, ops::conv2d_add(x, &layer, residual));
    }
}

#[test]
fn dense_layers() {
    for (name, [rows, d_in, d_out]) in [
        ("SD1.5, 64x64", [4096, 320, 320]),
        ("out of the gated unit", [1024, 2560, 640]),
        ("the time embedding", [1, 320, 1280]),
        ("keys of the prompt", [77, 2048, 1280]),
    ] {
        let [layer, there] = layers(Linear::new(d_in, d_out, &Device::flex()));
        let (x, residual) = (numbers(1, [1, rows, d_in]), numbers(2, [1, rows, d_out]));
        let want = ops::linear(x.clone(), &layer);
        assert_same(name, ops::linear(input(&x), &there), want);
        let got = ops::linear_add(input(&x), &there, input(&residual));
        assert_same(name, got, ops::linear_add(x, &layer, residual));
    }
    let [[proj, proj_there], [out, out_there]] =
        [(640, 5120), (2560, 640)].map(|(from, to)| layers(Linear::new(from, to, &Device::flex())));
    let (x, residual) = (numbers(1, [2, 1024, 640]), numbers(2, [2, 1024, 640]));
    let got = ops::feed_forward(input(&x), &proj_there, &out_there, input(&residual));
    assert_same("the feed-forward", got, ops::feed_forward(x, &proj, &out, residual));
}

#[test]
fn normalisations() {
    for (name, channels, side, eps) in
        [("UNet", 320, 64, 1e-5), ("UNet, 8x8", 2560, 8, 1e-5), ("VAE", 128, 256, 1e-6)]
    {
        let blank = GroupNormConfig::new(32, channels).with_epsilon(eps).init(&Device::flex());
        let [layer, there] = layers(blank);
        let x = numbers(1, [1, channels, side, side]) * 3.0 + 2.0;
        let want = ops::group_norm(x.clone(), &layer);
        assert_same(name, ops::group_norm(input(&x), &there), want);
        // Squares of these are beyond f16.
        let loud = x * 300.0;
        let got = ops::group_norm_silu(input(&loud), &there);
        assert_same(&format!("{name}, loud, with SiLU"), got, ops::group_norm_silu(loud, &layer));
    }
    let [layer, there] = layers(LayerNormConfig::new(320).init(&Device::flex()));
    let x = numbers(1, [2, 4096, 320]) * 300.0 + 200.0;
    let want = ops::layer_norm(x.clone(), &layer);
    assert_same("layer norm", ops::layer_norm(input(&x), &there), want);
}

#[test]
fn activations_and_enlargement() {
    let x = numbers(1, [2, 77, 1280]) * 8.0;
    let y = numbers(2, [2, 77, 1280]);
    assert_same("SiLU", ops::silu(input(&x)), ops::silu(x.clone()));
    assert_same("GELU", ops::gelu(input(&x)), ops::gelu(x.clone()));
    assert_same("quick GELU", ops::quick_gelu(input(&x)), ops::quick_gelu(x.clone()));
    assert_same("ReLU", ops::relu(input(&x)), ops::relu(x.clone()));
    assert_same("sum", ops::add(input(&x), input(&y)), ops::add(x, y));

    let x = numbers(1, [2, 320, 33, 32]);
    let [layer, there] = layers(Conv2d::new([320, 64], 3, &Device::flex()).with_padding([(1, 1); 2]));
    for (name, size) in [("doubled", [66, 64]), ("to an odd size", [65, 63])] {
        let got = ops::upsample_conv2d(input(&x), size, &there);
        assert_same(name, got, ops::upsample_conv2d(x.clone(), size, &layer));
    }
}
