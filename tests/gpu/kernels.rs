//! The kernels that hypersd has for GPUs (`hypersd-models`' `ops/gpu`) against their definitions in f64.

use burn::{
    nn::{GroupNorm, GroupNormConfig},
    tensor::{DType, FloatDType, Tensor, TensorData},
};
use hypersd::Device;
use hypersd_core::{HostTensor, LoadOptions, MemorySource, Slots, load};
use hypersd_models::{
    ops::{self, Linear},
    parameters,
};
use hypersd_testing::{Array, activation_dtype, assert_close, device, dtype};

/// The kernels compute in f32 from inputs that the reference is given as they are: sums of up to 40,000 values, in another
/// order than f64's; in the half types, the rounding of the result, half a unit in the last of 11 and of 8 bits at most.
fn allowed() -> f64 {
    match activation_dtype() {
        FloatDType::F16 => 5e-4,
        FloatDType::BF16 => 4e-3,
        _ => 2e-6,
    }
}

/// Numbers that look random, of unit variance, as they are in the type that weights are stored in.
fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 1.732
    };
    rounded((0..len).map(|_| next()).collect())
}

fn rounded(numbers: Vec<f32>) -> Vec<f32> {
    let len = numbers.len();
    let x = Tensor::<1>::from_data(TensorData::new(numbers, [len]), (&Device::flex(), DType::F32));
    let x = x.cast(dtype()).cast(FloatDType::F32);
    x.into_data().try_into_vec_as().expect("f32")
}

fn tensor<const D: usize>(numbers: &[f32], shape: [usize; D]) -> Tensor<D> {
    let data = TensorData::new(numbers.to_vec(), shape);
    Tensor::<D>::from_data(data, (&device(), DType::F32)).cast(activation_dtype())
}

fn array(shape: &[usize], numbers: impl IntoIterator<Item = f64>) -> Array {
    Array { shape: shape.to_vec(), data: numbers.into_iter().map(|x| x as f32).collect() }
}

/// A layer with these weights and biases.
fn layer<N: Slots + Clone>(blank: N, weight: &[f32], bias: &[f32]) -> N {
    let named = parameters(&blank).into_iter().map(|(name, shape)| {
        let numbers = if name == "weight" { weight } else { bias };
        (name, HostTensor::from_f32(shape, numbers.to_vec()))
    });
    let source: MemorySource = named.collect();
    let options = LoadOptions { device: device(), dtype: dtype(), ignore: &[] };
    load(blank, &source, &options).expect("numbers for each parameter")
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Abramowitz and Stegun 7.1.26 is not exact enough; this is the series of erf, which converges for all that is asked here.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.5 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 {
        n += 1.0;
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

fn normalised(x: &[f32], [b, c, h, w]: [usize; 4], groups: usize, eps: f64, affine: [&[f32]; 2]) -> Vec<f64> {
    let (area, per_group) = (h * w, c / groups);
    let mut out = Vec::new();
    for group in x.chunks(per_group * area).take(b * groups) {
        let n = group.len() as f64;
        let mean = group.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = group.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        out.extend(group.iter().map(|&x| (f64::from(x) - mean) / (variance + eps).sqrt()));
    }
    let channel = |i: usize| i / area % c;
    let [gamma, beta] = affine;
    let place = |(i, x): (usize, f64)| x * f64::from(gamma[channel(i)]) + f64::from(beta[channel(i)]);
    out.into_iter().enumerate().map(place).collect()
}

#[test]
fn group_norm_is_its_definition() {
    for (shape, offset) in [
        ([2, 64, 5, 7], 0.0),
        ([1, 320, 9, 8], 3.0),
        ([1, 32, 1, 1], 0.0),
        ([3, 32, 63, 65], 30.0), // far from zero, and more pieces than one
    ] {
        let [_, c, ..] = shape;
        let mut x = numbers(1, shape.iter().product());
        x.iter_mut().for_each(|x| *x += offset);
        let x = rounded(x);
        let (gamma, beta) = (numbers(2, c), numbers(3, c));
        let blank = GroupNormConfig::new(32, c).with_epsilon(1e-5).init(&Device::flex());
        let norm: GroupNorm = layer(blank, &gamma, &beta);
        let want = normalised(&x, shape, 32, 1e-5, [&gamma, &beta]);
        let silu = want.iter().map(|&y| y * sigmoid(y)).collect::<Vec<_>>();
        // What lies as a convolution leaves it, channels last, as well as what lies as its shape says.
        let given = tensor(&x, shape);
        let turned = {
            let [b, c, h, w] = shape;
            let area = h * w;
            let at = |i: usize| (i / (area * c), i / c % area, i % c);
            let last: Vec<f32> = (0..x.len())
                .map(|i| {
                    let (b, p, k) = at(i);
                    x[(b * c + k) * area + p]
                })
                .collect();
            tensor(&last, [b, h, w, c]).permute([0, 3, 1, 2])
        };
        for (name, x) in [("channels first", given), ("channels last", turned)] {
            let name = format!("{shape:?}, {name}");
            assert_close(&name, ops::group_norm(x.clone(), &norm), &array(&shape, want.clone()), allowed());
            assert_close(&name, ops::group_norm_silu(x, &norm), &array(&shape, silu.clone()), allowed());
        }
    }
}

/// `softmax(q kᵀ / √d) v`, all of it in f64.
fn attended(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    [b, s, t]: [usize; 3],
    heads: usize,
    d: usize,
    causal: bool,
) -> Vec<f64> {
    let width = heads * d;
    let mut out = vec![0.0; b * s * width];
    for (picture, head) in (0..b).flat_map(|picture| (0..heads).map(move |head| (picture, head))) {
        let at = |n: usize, row: usize, i: usize| (picture * n + row) * width + head * d + i;
        for row in 0..s {
            let seen = if causal { row + 1 } else { t };
            let dot = |key: usize| {
                (0..d).map(|i| f64::from(q[at(s, row, i)]) * f64::from(k[at(t, key, i)])).sum::<f64>()
            };
            let weights: Vec<f64> = (0..seen).map(|key| (dot(key) / (d as f64).sqrt()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..d {
                let value = |(key, weight): (usize, &f64)| weight * f64::from(v[at(t, key, i)]);
                out[at(s, row, i)] = weights.iter().enumerate().map(value).sum::<f64>() / sum;
            }
        }
    }
    out
}

#[test]
fn attention_is_its_definition() {
    for ([b, s, t], heads, d) in [
        ([1, 1, 1], 1, 8),
        ([2, 33, 77], 3, 40),   // the prompt's, with SD1.5's heads
        ([1, 40, 130], 1, 512), // the VAE's
        ([1, 31, 200], 2, 17),
    ] {
        let width = heads * d;
        let (q, k, v) = (numbers(1, b * s * width), numbers(2, b * t * width), numbers(3, b * t * width));
        let want = array(&[b, s, width], attended(&q, &k, &v, [b, s, t], heads, d, false));
        let [q, k, v] = [(&q, s), (&k, t), (&v, t)].map(|(x, n)| tensor(x, [b, n, width]));
        assert_close(
            &format!("{s} queries, {t} keys of {d}"),
            ops::attention(q, k, v, heads),
            &want,
            allowed(),
        );
    }
}

#[test]
fn causal_attention_is_its_definition() {
    for (s, heads, d) in [(1, 1, 8), (77, 2, 64), (45, 3, 10)] {
        let width = heads * d;
        let [q, k, v] = [1, 2, 3].map(|seed| numbers(seed, 2 * s * width));
        let want = array(&[2, s, width], attended(&q, &k, &v, [2, s, s], heads, d, true));
        let [q, k, v] = [q, k, v].map(|x| tensor(&x, [2, s, width]));
        assert_close(&format!("{s} of {d}"), ops::causal_attention(q, k, v, heads), &want, allowed());
    }
}

/// With dense layers that hand on what they are given, a feed-forward is its gated unit.
#[test]
fn the_gated_unit_is_its_definition() {
    const D: usize = 20;
    let identity =
        |n: usize| -> Vec<f32> { (0..n * n).map(|i| f32::from(u8::from(i / n == i % n))).collect() };
    let proj = layer(Linear::new(2 * D, 2 * D, &Device::flex()), &identity(2 * D), &[0.0; 2 * D]);
    let out = layer(Linear::new(D, D, &Device::flex()), &identity(D), &[0.0; D]);
    let mut x = numbers(1, 3 * 2 * D);
    x.iter_mut().for_each(|x| *x *= 3.0);
    let x = rounded(x);
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
    let want = x
        .chunks(2 * D)
        .flat_map(|row| (0..D).map(|i| f64::from(row[i]) * gelu(row[D + i].into())).collect::<Vec<_>>());
    let want = array(&[1, 3, D], want);
    let got = ops::feed_forward(tensor(&x, [1, 3, 2 * D]), &proj, &out, tensor(&[0.0; 3 * D], [1, 3, D]));
    // The products round their operands to 10 bits where a card's fast ones do.
    assert_close("gated", got, &want, hypersd_testing::tolerance(2e-6));
}
