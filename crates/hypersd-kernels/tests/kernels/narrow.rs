//! Products in int8 against integer arithmetic, which they are equal to, and in bf16 against f64.

use half::bf16;
use hypersd_kernels::{
    Activation, ConvShape, Epilogue, LayerWeights, LinearShape, Padding, Planes, conv2d, int8_panels,
    int8_rows, linear, linear_geglu,
};
use proptest::prelude::*;

use super::reference::{erf, in_panels, random, relative_l2, same_for_any_number_of_threads};

/// Sums in f32 of products of bf16, up to a few thousand.
const SUMS: f64 = 4e-6;
/// What is computed of exact values in f32.
const ROUNDING: f64 = 5e-7;

/// Some values in bytes, as the documentation has it: from the least to the greatest in 253 steps, zero being one of them.
struct Bytes {
    scale: f32,
    inverse: f32,
    zero: f32,
}

impl Bytes {
    fn of(x: &[f32]) -> Self {
        let (least, greatest) = x.iter().fold((0.0_f32, 0.0_f32), |(a, b), &x| (a.min(x), b.max(x)));
        let range = greatest - least;
        if range == 0.0 {
            return Self { scale: 0.0, inverse: 0.0, zero: 0.0 };
        }
        let inverse = 253.0 / range;
        Self { scale: range / 253.0, inverse, zero: 1.0 + (-least * inverse).floor() }
    }

    /// How many steps from zero.
    fn steps(&self, x: f32) -> i64 {
        ((x * self.inverse + self.zero).round_ties_even() - self.zero) as i64
    }
}

/// The weights of an output in 8 bits, and their scale.
fn weights(w: &[f32]) -> (f32, Vec<i64>) {
    let largest = w.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
    let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
    (largest / 127.0, w.iter().map(|w| (w * inverse).round_ties_even() as i64).collect())
}

/// What [`linear`] gives to the bit, for weights `[outputs, inputs]`.
fn exact_linear(x: &[f32], w: &[f32], bias: &[f32], shape: LinearShape) -> Vec<f32> {
    let LinearShape { rows, inputs, outputs } = shape;
    let w: Vec<_> = (0..outputs).map(|output| weights(&w[output * inputs..][..inputs])).collect();
    let mut out = Vec::new();
    for row in 0..rows {
        let x = &x[row * inputs..][..inputs];
        let bytes = Bytes::of(x);
        for ((scale, w), bias) in w.iter().zip(bias) {
            let sum: i64 = x.iter().zip(w).map(|(&x, w)| bytes.steps(x) * w).sum();
            out.push(sum as f32 * (bytes.scale * scale) + bias);
        }
    }
    out
}

fn int8_of(w: &[f32], [outputs, inputs]: [usize; 2]) -> Vec<u32> {
    int8_panels([outputs, inputs], |output, row| row.copy_from_slice(&w[output * inputs..][..inputs]))
}

fn check_linear(x: &[f32], w: &[f32], shape: LinearShape) {
    let LinearShape { rows, inputs, outputs } = shape;
    let (bias, residual) = (random(outputs, 3), random(rows * outputs, 4));
    let words = int8_of(w, [outputs, inputs]);
    let want = exact_linear(x, w, &bias, shape);
    let mut out = vec![f32::NAN; 7];
    linear(x, LayerWeights::Int8(&words), Some(&bias), None, shape, &mut out);
    assert_eq!(out, want, "{shape:?}");
    linear(x, LayerWeights::Int8(&words), Some(&bias), Some(&residual), shape, &mut out);
    let want: Vec<f32> = want.iter().zip(&residual).map(|(want, residual)| want + residual).collect();
    assert_eq!(out, want, "{shape:?} with a residual");
}

#[test]
fn int8_linear_is_exact() {
    for (rows, inputs, outputs) in [
        (7, 20, 48),
        (77, 768, 320),
        (1, 130, 16),
        (600, 41, 32),
        (13, 1000, 80),
        (3, 0, 16),
        (0, 3, 32),
        (3, 5, 0),
    ] {
        let shape = LinearShape { rows, inputs, outputs };
        check_linear(&random(rows * inputs, 1), &random(outputs * inputs, 2), shape);
    }
}

/// The largest bytes on both sides: what products in pairs of 16 bits would saturate at.
#[test]
fn int8_sums_do_not_saturate() {
    let shape = LinearShape { rows: 3, inputs: 4099, outputs: 32 };
    let (x, w) = (vec![3.0; 3 * 4099], vec![-2.0; 32 * 4099]);
    check_linear(&x, &w, shape);
    let alternating: Vec<f32> = (0..x.len()).map(|i| if i % 2 == 0 { 3.0 } else { -3.0 }).collect();
    check_linear(&alternating, &w, shape);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 48 }))]
    #[test]
    fn int8_linear_is_exact_whatever_its_size(
        (rows, inputs, panels) in (1..30_usize, 1..70_usize, 1..8_usize),
        spread in -20..20_i32,
        zeros in 0..4_usize,
        seed: u64,
    ) {
        let outputs = 16 * panels;
        let mut x = random(rows * inputs, seed);
        x.iter_mut().for_each(|x| *x = (*x + 1.0) * (spread as f32).exp2());
        // Rows of zeros, and rows of one value among them.
        for row in 0..zeros.min(rows) {
            x[row * inputs..][..inputs].fill(0.0);
            x[row * inputs] = row as f32;
        }
        check_linear(&x, &random(outputs * inputs, !seed), LinearShape { rows, inputs, outputs });
    }
}

#[test]
fn a_gated_layer_in_int8_is_gated() {
    for (rows, inputs, outputs) in [(77, 320, 640), (5, 130, 96), (9, 20, 48)] {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w, bias) = (random(rows * inputs, 1), random(outputs * inputs, 2), random(outputs, 3));
        let y = exact_linear(&x, &w, &bias, shape);
        let n = outputs / 2;
        let gelu = |x: f64| x / 2.0 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
        let gated =
            |row: usize, i: usize| f64::from(y[row * outputs + i]) * gelu(y[row * outputs + n + i].into());
        let want: Vec<f64> = (0..rows * n).map(|at| gated(at / n, at % n)).collect();
        let mut out = vec![f32::NAN; 7];
        linear_geglu(&x, LayerWeights::Int8(&int8_of(&w, [outputs, inputs])), Some(&bias), shape, &mut out);
        let error = relative_l2(&out, &want);
        assert!(error <= ROUNDING, "{shape:?}: {error:e}");
    }
}

/// A row with a NaN or an infinity is NaN, and no other; so is an output with such a weight.
#[test]
fn what_is_not_finite_is_found_in_int8() {
    let shape = LinearShape { rows: 4, inputs: 35, outputs: 32 };
    let mut x = random(4 * 35, 1);
    x[35 + 34] = f32::NAN;
    x[2 * 35 + 3] = f32::NEG_INFINITY;
    let mut w = random(32 * 35, 2);
    w[5 * 35] = f32::INFINITY;
    let mut out = Vec::new();
    linear(&x, LayerWeights::Int8(&int8_of(&w, [32, 35])), None, None, shape, &mut out);
    for (row, out) in out.chunks(32).enumerate() {
        for (output, x) in out.iter().enumerate() {
            assert_eq!(x.is_nan(), row == 1 || row == 2 || output == 5, "{row} {output}");
        }
    }
}

/// What [`conv2d`] gives to the bit before the epilogue, for one image and weights `[outputs, inputs, kernel]`.
fn exact_conv(x: &[f32], w: &[f32], [channels, height, width]: [usize; 3], shape: ConvShape) -> Vec<f32> {
    let [kernel_height, kernel_width] = shape.kernel;
    let [out_height, out_width] = shape.output_size(height, width);
    let bytes = Bytes::of(x);
    let steps: Vec<i64> = x.iter().map(|&x| bytes.steps(x)).collect();
    let mut out = Vec::new();
    for output in 0..shape.outputs {
        let taps = channels * kernel_height * kernel_width;
        let (scale, w) = weights(&w[output * taps..][..taps]);
        for y in 0..out_height {
            for column in 0..out_width {
                let mut sum = 0;
                for (tap, w) in w.iter().enumerate() {
                    let (channel, tap) =
                        (tap / (kernel_height * kernel_width), tap % (kernel_height * kernel_width));
                    let y = (y * shape.stride + tap / kernel_width).checked_sub(shape.padding.top);
                    let x = (column * shape.stride + tap % kernel_width).checked_sub(shape.padding.left);
                    if let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                        sum += w * steps[(channel * height + y) * width + x];
                    }
                }
                out.push(sum as f32 * (bytes.scale * scale));
            }
        }
    }
    out
}

fn conv_weights(w: &[f32], inputs: usize, shape: ConvShape) -> Vec<u32> {
    let taps = shape.kernel[0] * shape.kernel[1];
    let read =
        |output: usize, row: &mut [f32]| row.copy_from_slice(&w[output * inputs * taps..][..inputs * taps]);
    int8_rows([shape.outputs, inputs, taps], read)
}

fn check_conv(batch: usize, extents: [usize; 3], shape: ConvShape) {
    let [channels, height, width] = extents;
    let [out_height, out_width] = shape.output_size(height, width);
    let x = random(batch * channels * height * width, 1);
    let w = random(shape.outputs * channels * shape.kernel[0] * shape.kernel[1], 2);
    let (bias, shift) = (random(shape.outputs, 3), random(batch * shape.outputs, 4));
    let residual = random(batch * shape.outputs * out_height * out_width, 5);
    let epilogue = Epilogue {
        bias: Some(&bias),
        shift: Some(&shift),
        residual: Some(&residual),
        activation: Activation::Relu,
    };
    let mut out = vec![f32::NAN; 7];
    let planes = Planes::new(&x, [batch, channels, height, width]);
    conv2d(planes, LayerWeights::Int8(&conv_weights(&w, channels, shape)), shape, epilogue, &mut out);
    let mut want = Vec::new();
    for image in 0..batch {
        let x = &x[image * channels * height * width..][..channels * height * width];
        let sums = exact_conv(x, &w, extents, shape);
        let plane = out_height * out_width;
        for (i, sum) in sums.into_iter().enumerate() {
            let output = i / plane;
            let summand = bias[output] + shift[image * shape.outputs + output];
            want.push((sum + summand + residual[image * shape.outputs * plane + i]).max(0.0));
        }
    }
    assert_eq!(out, want, "{batch} {extents:?} {shape:?}");
}

#[test]
fn int8_convolution_is_exact() {
    let right_bottom = Padding { right: 1, bottom: 1, ..Padding::default() };
    let strided = |padding| ConvShape { outputs: 20, kernel: [3, 3], stride: 2, padding };
    for (batch, extents, shape) in [
        (2, [20, 9, 13], ConvShape::same3x3(35)),
        (1, [64, 16, 16], ConvShape::same3x3(48)),
        (1, [5, 40, 7], ConvShape::same3x3(3)),
        (1, [9, 1, 1], ConvShape::same3x3(16)),
        (2, [16, 11, 14], strided(Padding::all(1))),
        (1, [7, 12, 9], strided(right_bottom)),
        (2, [33, 5, 9], ConvShape::pointwise(21)),
        (1, [6, 9, 10], ConvShape { outputs: 4, kernel: [2, 5], stride: 3, padding: Padding::all(2) }),
        (1, [4, 1, 1], strided(Padding::default())), // no window fits
        (1, [4, 6, 6], ConvShape::same3x3(0)),
        (0, [4, 6, 6], ConvShape::same3x3(4)),
    ] {
        check_conv(batch, extents, shape);
    }
}

#[test]
fn narrow_products_are_the_same_for_any_number_of_threads() {
    let shape = LinearShape { rows: 300, inputs: 70, outputs: 160 };
    let (x, w) = (random(300 * 70, 1), random(160 * 70, 2));
    let words = int8_of(&w, [160, 70]);
    let halves: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
    let conv = ConvShape::same3x3(32);
    let (image, kernels) = (random(24 * 20 * 17, 3), random(32 * 24 * 9, 4));
    let rows = conv_weights(&kernels, 24, conv);
    let kernels: Vec<bf16> = kernels.iter().map(|&w| bf16::from_f32(w)).collect();
    for weights in [LayerWeights::Int8(&words), LayerWeights::Bf16(&halves)] {
        same_for_any_number_of_threads(|| {
            let mut out = Vec::new();
            linear(&x, weights, None, None, shape, &mut out);
            out
        });
    }
    for weights in [LayerWeights::Int8(&rows), LayerWeights::Bf16(&kernels)] {
        same_for_any_number_of_threads(|| {
            let mut out = Vec::new();
            let x = Planes::new(&image, [1, 24, 20, 17]);
            conv2d(x, weights, conv, Epilogue::default(), &mut out);
            out
        });
    }
}

/// The nearest bf16.
fn rounded(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| bf16::from_f32(x).to_f64()).collect()
}

#[test]
fn bf16_linear_multiplies_rounded_numbers() {
    for (rows, inputs, outputs) in
        [(7, 20, 48), (77, 768, 320), (1, 131, 16), (600, 41, 32), (3, 0, 16), (0, 3, 32), (3, 5, 0)]
    {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w, bias) = (random(rows * inputs, 1), random(outputs * inputs, 2), random(outputs, 3));
        let (x_half, w_half) = (rounded(&x), rounded(&w));
        let mut want = Vec::new();
        for row in x_half
            .chunks(inputs.max(1))
            .take(rows)
            .chain(std::iter::repeat_n(&[][..], rows * usize::from(inputs == 0)))
        {
            for output in 0..outputs {
                let w = &w_half[output * inputs..][..inputs];
                want.push(row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + f64::from(bias[output]));
            }
        }
        let halves: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        let panels = in_panels(&halves, [outputs, inputs], |output, input| output * inputs + input);
        let mut out = vec![f32::NAN; 7];
        linear(&x, LayerWeights::Bf16(&panels), Some(&bias), None, shape, &mut out);
        let error = relative_l2(&out, &want);
        assert!(error <= SUMS, "{shape:?}: {error:e}");
    }
}

#[test]
fn bf16_pointwise_convolution_multiplies_rounded_numbers() {
    for (inputs, outputs) in [(32, 21), (2, 1), (33, 17)] {
        let (x, w) = (random(inputs * 63, 1), random(outputs * inputs, 2));
        // An odd number of inputs is left to f32.
        let x_half = if inputs % 2 == 0 { rounded(&x) } else { x.iter().map(|&x| x.into()).collect() };
        let w_half = rounded(&w);
        let at = |i: usize| -> f64 {
            let (output, pixel) = (i / 63, i % 63);
            (0..inputs).map(|input| w_half[output * inputs + input] * x_half[input * 63 + pixel]).sum()
        };
        let want: Vec<f64> = (0..outputs * 63).map(at).collect();
        let halves: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        let mut out = Vec::new();
        let planes = Planes::new(&x, [1, inputs, 7, 9]);
        conv2d(
            planes,
            LayerWeights::Bf16(&halves),
            ConvShape::pointwise(outputs),
            Epilogue::default(),
            &mut out,
        );
        let error = relative_l2(&out, &want);
        assert!(error <= SUMS, "{inputs} to {outputs}: {error:e}");
    }
}
