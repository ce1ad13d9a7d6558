use half::{bf16, f16};
use hypersd_kernels::{
    Activation, ConvShape, Epilogue, LayerWeights, Padding, Planes, Weights, conv2d, conv2d_doubled,
};
use proptest::prelude::*;

use super::reference::{in_panels, random, relative_l2, same_for_any_number_of_threads};

/// Plain sums in f32 of up to a few thousand terms, and Winograd's F(2x2, 3x3).
const DIRECT: f64 = 1e-6;
/// Winograd's F(4x4, 3x3) in f32 with up to 1280 channels: PyTorch's own plain sums have 1e-6 to 2.5e-6.
const WINOGRAD: f64 = 2.5e-6;

/// The convolution and its epilogue in f64.
fn expected(
    x: &[f32],
    [batch, inputs, height, width]: [usize; 4],
    w: &[f32],
    shape: ConvShape,
    e: Epilogue<'_>,
) -> Vec<f64> {
    let ConvShape { outputs, kernel, stride, padding } = shape;
    let [out_height, out_width] = shape.output_size(height, width);
    let mut out = Vec::new();
    for image in 0..batch {
        for output in 0..outputs {
            for (oy, ox) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
                let mut sum = 0.0;
                for (input, ky, kx) in (0..inputs)
                    .flat_map(|i| (0..kernel[0]).flat_map(move |y| (0..kernel[1]).map(move |x| (i, y, x))))
                {
                    let y = (oy * stride + ky).checked_sub(padding.top).filter(|&y| y < height);
                    let x_at = (ox * stride + kx).checked_sub(padding.left).filter(|&x| x < width);
                    if let (Some(y), Some(x_at)) = (y, x_at) {
                        let pixel = x[((image * inputs + input) * height + y) * width + x_at];
                        let weight = w[((output * inputs + input) * kernel[0] + ky) * kernel[1] + kx];
                        sum += f64::from(pixel) * f64::from(weight);
                    }
                }
                sum += f64::from(e.bias.map_or(0.0, |b| b[output]));
                sum += f64::from(e.shift.map_or(0.0, |s| s[image * outputs + output]));
                sum += f64::from(e.residual.map_or(0.0, |r| r[out.len()]));
                out.push(match e.activation {
                    Activation::Relu => sum.max(0.0),
                    Activation::Silu => sum / (1.0 + (-sum).exp()),
                    _ => sum,
                });
            }
        }
    }
    out
}

fn check(x_shape: [usize; 4], shape: ConvShape, activation: Activation, tolerance: f64) {
    let [batch, inputs, height, width] = x_shape;
    let [out_height, out_width] = shape.output_size(height, width);
    let outputs = shape.outputs;
    let x = random(x_shape.iter().product(), 1);
    let w = random(outputs * inputs * shape.kernel[0] * shape.kernel[1], 2);
    let (bias, shift) = (random(outputs, 3), random(batch * outputs, 4));
    let residual = random(batch * outputs * out_height * out_width, 5);
    let epilogue = Epilogue { bias: Some(&bias), shift: Some(&shift), residual: Some(&residual), activation };
    let mut out = vec![f32::NAN; 3];
    conv2d(Planes::new(&x, x_shape), Weights::F32(&w), shape, epilogue, &mut out);
    let error = relative_l2(&out, &expected(&x, x_shape, &w, shape, epilogue));
    assert!(error <= tolerance, "{x_shape:?} {shape:?}: {error:e}");
}

/// `x` with every pixel four times.
fn doubled(x: &[f32], width: usize) -> Vec<f32> {
    let row = |row: &[f32]| row.iter().flat_map(|&x| [x, x]).collect::<Vec<_>>().repeat(2);
    x.chunks(width).flat_map(row).collect()
}

/// [`conv2d_doubled`] against the convolution of a doubled image in f64.
fn check_doubled(x_shape: [usize; 4], outputs: usize, activation: Activation) {
    let [batch, inputs, height, width] = x_shape;
    let x = random(x_shape.iter().product(), 1);
    let w = random(outputs * inputs * 9, 2);
    let (bias, shift) = (random(outputs, 3), random(batch * outputs, 4));
    let residual = random(batch * outputs * 4 * height * width, 5);
    let epilogue = Epilogue { bias: Some(&bias), shift: Some(&shift), residual: Some(&residual), activation };
    let mut out = vec![f32::NAN; 3];
    conv2d_doubled(Planes::new(&x, x_shape), Weights::F32(&w), outputs, epilogue, &mut out);
    let large = [batch, inputs, 2 * height, 2 * width];
    let expected = expected(&doubled(&x, width), large, &w, ConvShape::same3x3(outputs), epilogue);
    let error = relative_l2(&out, &expected);
    assert!(error <= WINOGRAD, "{x_shape:?} to {outputs}: {error:e}");
}

#[test]
fn an_image_that_is_doubled_first() {
    check_doubled([1, 64, 48, 48], 17, Activation::Identity);
    check_doubled([2, 20, 41, 27], 35, Activation::Silu);
    check_doubled([1, 16, 20, 150], 16, Activation::Relu);
    // Doubled in memory: too small, or too few channels.
    check_doubled([1, 20, 5, 7], 20, Activation::Identity);
    check_doubled([1, 3, 48, 48], 20, Activation::Identity);
    check_doubled([0, 20, 5, 7], 20, Activation::Identity);
    check_doubled([1, 20, 0, 7], 20, Activation::Identity);
}

/// More weights than one task goes through, and more than fit the scratch at once.
#[test]
fn a_doubled_image_in_stages() {
    for (inputs, outputs) in [(150, 96), (680, 160)] {
        let (x_shape, shape) = ([1, inputs, 47, 49], ConvShape::same3x3(outputs));
        let x = random(x_shape.iter().product(), 6);
        let w = random(outputs * inputs * 9, 7);
        let mut out = Vec::new();
        conv2d_doubled(Planes::new(&x, x_shape), Weights::F32(&w), outputs, Epilogue::default(), &mut out);
        // The first and the last channel alone, as convolutions of their own.
        let (large, area) = (doubled(&x, 49), 4 * 47 * 49);
        for channel in [0, outputs - 1] {
            let w = &w[channel * inputs * 9..(channel + 1) * inputs * 9];
            let single = ConvShape { outputs: 1, ..shape };
            let expected = expected(&large, [1, inputs, 94, 98], w, single, Epilogue::default());
            let error = relative_l2(&out[channel * area..(channel + 1) * area], &expected);
            assert!(error <= WINOGRAD, "channel {channel} of {outputs}: {error:e}");
        }
    }
}

/// The rounding error is no larger than that of a convolution of the doubled image.
#[test]
fn doubling_costs_no_digits() {
    let (inputs, side, outputs) = (256, 48, 16);
    let (x, w) = (random(inputs * side * side, 8), random(outputs * inputs * 9, 9));
    let (large, shape) = (doubled(&x, side), ConvShape::same3x3(outputs));
    let (mut at_once, mut in_turn) = (Vec::new(), Vec::new());
    let epilogue = Epilogue::default();
    conv2d_doubled(
        Planes::new(&x, [1, inputs, side, side]),
        Weights::F32(&w),
        outputs,
        epilogue,
        &mut at_once,
    );
    let large_shape = [1, inputs, 2 * side, 2 * side];
    conv2d(Planes::new(&large, large_shape), Weights::F32(&w), shape, epilogue, &mut in_turn);
    let expected = expected(&large, large_shape, &w, shape, epilogue);
    let [at_once, in_turn] = [at_once, in_turn].map(|out| relative_l2(&out, &expected));
    assert!(at_once <= in_turn, "{at_once:e} instead of {in_turn:e}");
}

// Small enough for Miri, where the algorithms change at smaller sizes.

#[test]
fn in_miniature_2x2_tiles() {
    check([1, 16, 3, 3], ConvShape::same3x3(16), Activation::Identity, DIRECT);
}

#[test]
fn in_miniature_few_tiles() {
    check([1, 17, 2, 18], ConvShape::same3x3(16), Activation::Silu, WINOGRAD);
}

#[test]
fn in_miniature_few_weights() {
    check([1, 16, 1, 22], ConvShape::same3x3(16), Activation::Identity, WINOGRAD);
}

#[test]
fn in_miniature_stages() {
    check([1, 20, 1, 22], ConvShape::same3x3(17), Activation::Identity, WINOGRAD);
}

#[test]
fn in_miniature_doubled() {
    check_doubled([1, 16, 1, 13], 16, Activation::Identity);
}

#[test]
fn in_miniature_direct() {
    check([1, 3, 5, 4], ConvShape { stride: 2, ..ConvShape::same3x3(18) }, Activation::Relu, DIRECT);
    check([2, 5, 3, 6], ConvShape::pointwise(17), Activation::Identity, DIRECT);
}

#[test]
fn winograd_with_tiles_of_four_pixels() {
    check([1, 320, 8, 8], ConvShape::same3x3(64), Activation::Identity, DIRECT);
    check([1, 1280, 4, 4], ConvShape::same3x3(32), Activation::Identity, DIRECT);
    check([1, 48, 7, 5], ConvShape::same3x3(80), Activation::Silu, DIRECT);
    check([1, 20, 1, 15], ConvShape::same3x3(16), Activation::Relu, DIRECT);
    check([4, 100, 3, 3], ConvShape::same3x3(19), Activation::Identity, DIRECT);
}

#[test]
fn winograd_with_few_tiles() {
    check([1, 320, 12, 8], ConvShape::same3x3(64), Activation::Identity, WINOGRAD);
    check([2, 48, 13, 24], ConvShape::same3x3(80), Activation::Silu, WINOGRAD);
    check([1, 1280, 5, 20], ConvShape::same3x3(32), Activation::Identity, WINOGRAD);
}

#[test]
fn winograd_with_many_tiles() {
    check([1, 32, 64, 64], ConvShape::same3x3(48), Activation::Identity, WINOGRAD);
    check([2, 20, 50, 61], ConvShape::same3x3(35), Activation::Relu, WINOGRAD);
    check([1, 16, 20, 300], ConvShape::same3x3(16), Activation::Identity, WINOGRAD);
    check([1, 400, 36, 36], ConvShape::same3x3(17), Activation::Identity, WINOGRAD);
}

#[test]
fn winograd_with_more_weights_than_scratch() {
    // 1100 * 464 transformed weights are more than 64 MiB.
    let (inputs, outputs) = (1100, 464);
    let x_shape = [2, inputs, 24, 24];
    let x = random(x_shape.iter().product(), 6);
    let w = random(outputs * inputs * 9, 7);
    let mut out = Vec::new();
    conv2d(
        Planes::new(&x, x_shape),
        Weights::F32(&w),
        ConvShape::same3x3(outputs),
        Epilogue::default(),
        &mut out,
    );
    // The first and the last channel alone, as convolutions of their own.
    for channel in [0, outputs - 1] {
        let w = &w[channel * inputs * 9..(channel + 1) * inputs * 9];
        let expected = expected(&x, x_shape, w, ConvShape::same3x3(1), Epilogue::default());
        let got: Vec<f32> = (0..2)
            .flat_map(|image| &out[(image * outputs + channel) * 576..(image * outputs + channel + 1) * 576])
            .copied()
            .collect();
        let error = relative_l2(&got, &expected);
        assert!(error <= WINOGRAD, "channel {channel}: {error:e}");
    }
}

#[test]
fn thin_strided_and_pointwise() {
    check([1, 4, 16, 16], ConvShape::same3x3(320), Activation::Identity, DIRECT);
    check([1, 320, 16, 16], ConvShape::same3x3(4), Activation::Identity, DIRECT);
    check([2, 3, 31, 17], ConvShape::same3x3(16), Activation::Silu, DIRECT);
    check([2, 40, 9, 7], ConvShape::pointwise(33), Activation::Identity, DIRECT);
    let strided = ConvShape { stride: 2, ..ConvShape::same3x3(40) };
    check([1, 64, 16, 16], strided, Activation::Identity, DIRECT);
    check([2, 5, 11, 8], strided, Activation::Relu, DIRECT);
    // The encoder of the VAE pads below and on the right only.
    let padding = Padding { bottom: 1, right: 1, ..Padding::default() };
    check([1, 16, 12, 12], ConvShape { padding, ..strided }, Activation::Identity, DIRECT);
}

#[test]
fn a_patch_embedding() {
    let shape = ConvShape { outputs: 24, kernel: [14, 14], stride: 14, padding: Padding::default() };
    check([1, 3, 56, 42], shape, Activation::Identity, DIRECT);
}

#[test]
fn no_window_fits() {
    let shape = ConvShape { padding: Padding::default(), ..ConvShape::same3x3(16) };
    check([1, 16, 2, 2], shape, Activation::Identity, DIRECT);
    check([1, 16, 0, 5], ConvShape::same3x3(16), Activation::Identity, DIRECT);
    check([0, 16, 5, 5], ConvShape::same3x3(16), Activation::Identity, DIRECT);
}

#[test]
fn joined_planes_are_convolved_as_their_concatenation() {
    let (batch, first, second, area) = (2, 21, 30, 10 * 9);
    let (a, b) = (random(batch * first * area, 8), random(batch * second * area, 9));
    let both: Vec<f32> = (0..batch)
        .flat_map(|i| {
            [&a[i * first * area..(i + 1) * first * area], &b[i * second * area..(i + 1) * second * area]]
        })
        .flatten()
        .copied()
        .collect();
    let w = random(32 * 51 * 9, 10);
    for (shape, taps) in [(ConvShape::same3x3(32), 9), (ConvShape::pointwise(32), 1)] {
        let w = Weights::F32(&w[..32 * 51 * taps]);
        let (mut joined, mut copied) = (Vec::new(), Vec::new());
        let planes = Planes::new(&a, [batch, first, 10, 9]).join(&b, second);
        conv2d(planes, w, shape, Epilogue::default(), &mut joined);
        conv2d(Planes::new(&both, [batch, 51, 10, 9]), w, shape, Epilogue::default(), &mut copied);
        assert_eq!(joined, copied);
    }
}

#[test]
fn half_precision_weights_are_widened_exactly() {
    let x = random(70 * 12 * 12, 11);
    let w = random(40 * 70 * 9, 12);
    let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
    let half_wide: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
    let brain: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
    let brain_wide: Vec<f32> = brain.iter().map(|w| w.to_f32()).collect();
    for stride in [1, 2] {
        let shape = ConvShape { stride, ..ConvShape::same3x3(40) };
        let run = |w: Weights<'_>| {
            let mut out = Vec::new();
            conv2d(Planes::new(&x, [1, 70, 12, 12]), w, shape, Epilogue::default(), &mut out);
            out
        };
        assert_eq!(run(Weights::F16(&half)), run(Weights::F32(&half_wide)));
        assert_eq!(run(Weights::BF16(&brain)), run(Weights::F32(&brain_wide)));
    }
}

/// Of every algorithm: few tiles, few weights, many tiles; plain products of several tasks and thin ones.
#[test]
fn the_order_of_weights_does_not_change_a_bit() {
    for (inputs, outputs, side, stride) in
        [(70, 48, 12, 1), (33, 32, 44, 1), (200, 224, 40, 1), (30, 336, 13, 2), (3, 16, 9, 1)]
    {
        let shape = ConvShape { stride, ..ConvShape::same3x3(outputs) };
        let (x, w) = (random(inputs * side * side, 17), random(outputs * inputs * 9, 18));
        let depth = inputs * 9;
        let panels = in_panels(&w, [outputs, depth], |output, p| output * depth + p);
        let same = |plain: Weights<'_>, panels: Weights<'_>| {
            let (mut expected, mut got) = (Vec::new(), Vec::new());
            let x = Planes::new(&x, [1, inputs, side, side]);
            conv2d(x, plain, shape, Epilogue::default(), &mut expected);
            conv2d(x, LayerWeights::Panels(panels), shape, Epilogue::default(), &mut got);
            assert_eq!(got, expected, "{inputs} to {outputs}, {side}x{side}, stride {stride}");
        };
        same(Weights::F32(&w), Weights::F32(&panels));
        let half = |w: &[f32]| w.iter().map(|&w| f16::from_f32(w)).collect::<Vec<_>>();
        same(Weights::F16(&half(&w)), Weights::F16(&half(&panels)));
    }
}

#[test]
fn the_order_of_weights_does_not_change_a_bit_of_a_doubled_image() {
    for (inputs, outputs, side) in [(20, 32, 48), (150, 96, 48), (20, 32, 9)] {
        let (x, w) = (random(inputs * side * side, 19), random(outputs * inputs * 9, 20));
        let panels = in_panels(&w, [outputs, inputs * 9], |output, p| output * inputs * 9 + p);
        let of = |weights: LayerWeights<'_>| {
            let mut out = Vec::new();
            let x = Planes::new(&x, [1, inputs, side, side]);
            conv2d_doubled(x, weights, outputs, Epilogue::default(), &mut out);
            out
        };
        let plain = of(LayerWeights::Plain(Weights::F32(&w)));
        assert_eq!(of(LayerWeights::Panels(Weights::F32(&panels))), plain, "{inputs} to {outputs}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let x = random(2 * 24 * 40 * 40, 13);
    let w = random(50 * 24 * 9, 14);
    for (stride, side) in [(1, 40), (1, 20), (2, 40)] {
        same_for_any_number_of_threads(|| {
            let mut out = Vec::new();
            let x = Planes::new(&x[..2 * 24 * side * side], [2, 24, side, side]);
            conv2d(
                x,
                Weights::F32(&w),
                ConvShape { stride, ..ConvShape::same3x3(50) },
                Epilogue::default(),
                &mut out,
            );
            out
        });
    }
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        let x = Planes::new(&x[..2 * 24 * 36 * 36], [2, 24, 36, 36]);
        conv2d_doubled(x, Weights::F32(&w), 50, Epilogue::default(), &mut out);
        out
    });
}

/// A NaN reaches every pixel whose window it is in; Winograd's tiles may carry it up to three pixels further.
#[test]
fn a_nan_reaches_its_neighbours_and_not_far() {
    for (inputs, reach) in [(3, 1), (20, 4)] {
        let mut x = random(inputs * 24 * 24, 15);
        x[24 * 24 + 11 * 24 + 12] = f32::NAN;
        let w = random(16 * inputs * 9, 16);
        let mut out = Vec::new();
        let x = Planes::new(&x, [1, inputs, 24, 24]);
        conv2d(x, Weights::F32(&w), ConvShape::same3x3(16), Epilogue::default(), &mut out);
        for (i, value) in out.iter().enumerate() {
            let (dy, dx) = ((i / 24 % 24).abs_diff(11), (i % 24).abs_diff(12));
            assert!(value.is_nan() || dy > 1 || dx > 1, "{value} at {dy}, {dx}");
            assert!(!value.is_nan() || (dy <= reach && dx <= reach), "NaN at {dy}, {dx}");
        }
    }
}

fn padding() -> impl Strategy<Value = Padding> {
    [0usize..3, 0..3, 0..3, 0..3].prop_map(|[top, bottom, left, right]| Padding { top, bottom, left, right })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_winograd_shape(
        batch in 1usize..3, inputs in 16usize..40, outputs in 16usize..40,
        height in 1usize..22, width in 1usize..38, padding in padding(),
    ) {
        let shape = ConvShape { padding, ..ConvShape::same3x3(outputs) };
        check([batch, inputs, height, width], shape, Activation::Identity, WINOGRAD);
    }

    #[test]
    fn any_doubled_shape(
        batch in 1usize..3, inputs in 16usize..20, outputs in 16usize..20, height in 1usize..60, width in 1usize..60,
    ) {
        check_doubled([batch, inputs, height, width], outputs, Activation::Identity);
    }

    #[test]
    fn any_direct_shape(
        batch in 1usize..3, inputs in 1usize..9, outputs in 1usize..20, height in 1usize..14, width in 1usize..14,
        kernel in [1usize..5, 1usize..5], stride in 1usize..4, padding in padding(),
    ) {
        let shape = ConvShape { outputs, kernel, stride, padding };
        check([batch, inputs, height, width], shape, Activation::Identity, DIRECT);
    }
}
