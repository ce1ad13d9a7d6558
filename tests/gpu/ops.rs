//! Every operation of the networks in the shapes that full-size SD1.5 and SDXL have, against the CPU in f32. The tiny
//! networks of the other tests do not meet the kernels that GPUs have for large ones.

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{GroupNormConfig, LayerNormConfig, LinearConfig, PaddingConfig2d, conv::Conv2dConfig},
    tensor::{DType, Device, FloatDType, Tensor, TensorData},
};
use hypersd_models::ops;
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

/// Takes parameters, or an input, from the CPU to the device and the type in use: on the CPU only parameters are in half
/// precision.
struct There;

impl There {
    fn input<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
        Self::cast(x, activation_dtype())
    }

    fn cast<const D: usize>(x: &Tensor<D>, dtype: FloatDType) -> Tensor<D> {
        Tensor::<D>::from_data(x.clone().into_data(), (&device(), DType::F32)).cast(dtype)
    }
}

impl ModuleMapper for There {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(param.id, Self::cast(&param.val(), dtype()))
    }
}

fn there<M: Module>(module: &M) -> M {
    module.clone().map(&mut There)
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
        let got = ops::attention(There::input(&q), There::input(&k), There::input(&v), heads);
        assert_same(name, got, ops::attention(q, k, v, heads));
    }
}

#[test]
fn causal_attention() {
    for (name, width, heads) in [("CLIP-L", 768, 12), ("OpenCLIP bigG", 1280, 20)] {
        let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, [2, 77, width]));
        let got = ops::causal_attention(There::input(&q), There::input(&k), There::input(&v), heads);
        assert_same(name, got, ops::causal_attention(q, k, v, heads));
    }
}

#[test]
fn convolutions() {
    let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
    for (name, [c_in, c_out], [kernel, stride, side], padding) in [
        ("into the UNet", [4, 320], [3, 1, 64], same.clone()),
        ("SD1.5, 64x64", [320, 320], [3, 1, 64], same.clone()),
        ("SD1.5, after a skip", [960, 320], [3, 1, 64], same.clone()),
        ("SD1.5, 8x8", [1280, 1280], [3, 1, 8], same.clone()),
        ("halving", [320, 320], [3, 2, 64], same.clone()),
        ("halving in the VAE", [128, 128], [3, 2, 64], PaddingConfig2d::Explicit(0, 0, 1, 1)),
        ("1x1", [960, 320], [1, 1, 64], PaddingConfig2d::Valid),
        ("out of the VAE", [128, 3], [3, 1, 256], same),
    ] {
        let config = Conv2dConfig::new([c_in, c_out], [kernel, kernel]).with_stride([stride, stride]);
        let layer = config.with_padding(padding).init(&Device::flex());
        let x = numbers(1, [1, c_in, side, side]);
        let want = ops::conv2d(x.clone(), &layer);
        assert_same(name, ops::conv2d(There::input(&x), &there(&layer)), want.clone());

        let shift = numbers(2, [1, c_out]);
        let got = ops::conv2d_shift(There::input(&x), &there(&layer), There::input(&shift));
        assert_same(name, got, ops::conv2d_shift(x.clone(), &layer, shift));
        let residual = numbers(3, want.dims());
        let got = ops::conv2d_add(There::input(&x), &there(&layer), There::input(&residual));
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
        let layer = LinearConfig::new(d_in, d_out).init(&Device::flex());
        let (x, residual) = (numbers(1, [1, rows, d_in]), numbers(2, [1, rows, d_out]));
        let want = ops::linear(x.clone(), &layer);
        assert_same(name, ops::linear(There::input(&x), &there(&layer)), want);
        let got = ops::linear_add(There::input(&x), &there(&layer), There::input(&residual));
        assert_same(name, got, ops::linear_add(x, &layer, residual));
    }
    let [proj, out] =
        [(640, 5120), (2560, 640)].map(|(from, to)| LinearConfig::new(from, to).init(&Device::flex()));
    let (x, residual) = (numbers(1, [2, 1024, 640]), numbers(2, [2, 1024, 640]));
    let got = ops::feed_forward(There::input(&x), &there(&proj), &there(&out), There::input(&residual));
    assert_same("the feed-forward", got, ops::feed_forward(x, &proj, &out, residual));
}

#[test]
fn normalisations() {
    for (name, channels, side, eps) in
        [("UNet", 320, 64, 1e-5), ("UNet, 8x8", 2560, 8, 1e-5), ("VAE", 128, 256, 1e-6)]
    {
        let layer = GroupNormConfig::new(32, channels).with_epsilon(eps).init(&Device::flex());
        let x = numbers(1, [1, channels, side, side]) * 3.0 + 2.0;
        let want = ops::group_norm(x.clone(), &layer);
        assert_same(name, ops::group_norm(There::input(&x), &there(&layer)), want);
        // Squares of these are beyond f16.
        let loud = x * 300.0;
        let got = ops::group_norm_silu(There::input(&loud), &there(&layer));
        assert_same(&format!("{name}, loud, with SiLU"), got, ops::group_norm_silu(loud, &layer));
    }
    let layer = LayerNormConfig::new(320).init(&Device::flex());
    let x = numbers(1, [2, 4096, 320]) * 300.0 + 200.0;
    let want = ops::layer_norm(x.clone(), &layer);
    assert_same("layer norm", ops::layer_norm(There::input(&x), &there(&layer)), want);
}

#[test]
fn activations_and_enlargement() {
    let x = numbers(1, [2, 77, 1280]) * 8.0;
    let y = numbers(2, [2, 77, 1280]);
    assert_same("SiLU", ops::silu(There::input(&x)), ops::silu(x.clone()));
    assert_same("GELU", ops::gelu(There::input(&x)), ops::gelu(x.clone()));
    assert_same("quick GELU", ops::quick_gelu(There::input(&x)), ops::quick_gelu(x.clone()));
    assert_same("ReLU", ops::relu(There::input(&x)), ops::relu(x.clone()));
    assert_same("sum", ops::add(There::input(&x), There::input(&y)), ops::add(x, y));

    let x = numbers(1, [2, 320, 33, 32]);
    let layer = Conv2dConfig::new([320, 64], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    let layer = layer.init(&Device::flex());
    for (name, size) in [("doubled", [66, 64]), ("to an odd size", [65, 63])] {
        let got = ops::upsample_conv2d(There::input(&x), size, &there(&layer));
        assert_same(name, got, ops::upsample_conv2d(x.clone(), size, &layer));
    }
}
