use half::{bf16, f16};
use hypersd_kernels::{LayerWeights, LinearShape, Weights, linear, linear_geglu};
use proptest::prelude::*;

use super::reference::{erf, in_panels, random, relative_l2, same_for_any_number_of_threads};

/// f32 sums of products of up to a few thousand terms.
const TOLERANCE: f64 = 2e-6;

fn expected(x: &[f32], w: &[f32], bias: &[f32], residual: &[f32], shape: LinearShape) -> Vec<f64> {
    let LinearShape { rows, inputs, outputs } = shape;
    let mut out = Vec::with_capacity(rows * outputs);
    for row in 0..rows {
        for column in 0..outputs {
            let dot: f64 = (0..inputs)
                .map(|i| f64::from(x[row * inputs + i]) * f64::from(w[i * outputs + column]))
                .sum();
            out.push(dot + f64::from(bias[column]) + f64::from(residual[row * outputs + column]));
        }
    }
    out
}

fn check(shape: LinearShape) {
    let LinearShape { rows, inputs, outputs } = shape;
    let (x, w) = (random(rows * inputs, 1), random(inputs * outputs, 2));
    let (bias, residual) = (random(outputs, 3), random(rows * outputs, 4));
    // A buffer with a past: its contents must not matter.
    let mut out = vec![f32::NAN; 7];
    linear(&x, Weights::F32(&w), Some(&bias), Some(&residual), shape, &mut out);
    let error = relative_l2(&out, &expected(&x, &w, &bias, &residual, shape));
    assert!(error <= TOLERANCE, "{shape:?}: {error:e}");
}

/// [`linear_geglu`] against its formula; half of the outputs are gates.
fn check_gated(shape: LinearShape) {
    let LinearShape { rows, inputs, outputs } = shape;
    let (x, w, bias) = (random(rows * inputs, 1), random(inputs * outputs, 2), random(outputs, 3));
    let mut out = vec![f32::NAN; 7];
    linear_geglu(&x, Weights::F32(&w), Some(&bias), shape, &mut out);
    let n = outputs / 2;
    let gelu = |x: f64| x / 2.0 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
    let y = expected(&x, &w, &bias, &vec![0.0; rows * outputs], shape);
    let gated = |row: usize, i: usize| y[row * outputs + i] * gelu(y[row * outputs + n + i]);
    let values: Vec<f64> = (0..rows * n).map(|at| gated(at / n, at % n)).collect();
    let error = relative_l2(&out, &values);
    assert!(error <= TOLERANCE, "{shape:?}: {error:e}");
}

#[test]
fn a_gated_layer_is_gated() {
    for (rows, inputs, outputs) in [
        (77, 320, 640),
        (600, 40, 96),
        (5, 130, 2560),
        (9, 20, 48),
        (3, 0, 64),
        (0, 3, 64),
        (3, 5, 0),
        (1, 1, 2),
    ] {
        check_gated(LinearShape { rows, inputs, outputs });
    }
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "nothing is unwound there")]
#[should_panic(expected = "half of the outputs")]
fn there_are_as_many_gates_as_values() {
    let shape = LinearShape { rows: 1, inputs: 1, outputs: 3 };
    linear_geglu(&[1.0], Weights::F32(&[1.0; 3]), None, shape, &mut Vec::new());
}

/// Small enough for Miri.
#[test]
fn in_miniature() {
    check(LinearShape { rows: 7, inputs: 20, outputs: 35 });
    check(LinearShape { rows: 1, inputs: 130, outputs: 17 });
    check_gated(LinearShape { rows: 3, inputs: 5, outputs: 64 });
}

#[test]
fn shapes_of_the_networks_and_their_tails() {
    for (rows, inputs, outputs) in [
        (77, 768, 320),
        (64, 320, 1280),
        (1, 320, 1280),
        (2, 1280, 640),
        (600, 40, 24),
        (13, 1000, 17),
        (1, 1, 1),
    ] {
        check(LinearShape { rows, inputs, outputs });
    }
}

#[test]
fn nothing_to_sum_or_to_write_is_no_special_case() {
    for (rows, inputs, outputs) in [(3, 0, 5), (0, 3, 5), (3, 5, 0)] {
        check(LinearShape { rows, inputs, outputs });
    }
}

#[test]
fn half_precision_weights_are_widened_exactly() {
    let shape = LinearShape { rows: 9, inputs: 500, outputs: 150 };
    let x = random(shape.rows * shape.inputs, 5);
    let w = random(shape.inputs * shape.outputs, 6);
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());

    let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
    let widened: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
    linear(&x, Weights::F16(&half), None, None, shape, &mut narrow);
    linear(&x, Weights::F32(&widened), None, None, shape, &mut wide);
    assert_eq!(narrow, wide);

    let brain: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
    let widened: Vec<f32> = brain.iter().map(|w| w.to_f32()).collect();
    linear(&x, Weights::BF16(&brain), None, None, shape, &mut narrow);
    linear(&x, Weights::F32(&widened), None, None, shape, &mut wide);
    assert_eq!(narrow, wide);
}

#[test]
fn the_order_of_weights_does_not_change_a_bit() {
    for (rows, inputs, outputs) in
        [(9, 500, 160), (1, 7, 16), (600, 130, 48), (3, 0, 16), (0, 3, 32), (3, 5, 0)]
    {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w) = (random(rows * inputs, 11), random(inputs * outputs, 12));
        let panels = in_panels(&w, [outputs, inputs], |output, input| input * outputs + output);
        let same = |plain: Weights<'_>, panels: Weights<'_>| {
            let (mut expected, mut got) = (Vec::new(), Vec::new());
            linear(&x, plain, None, None, shape, &mut expected);
            linear(&x, LayerWeights::Panels(panels), None, None, shape, &mut got);
            assert_eq!(got, expected, "{shape:?}");
            linear_geglu(&x, plain, None, shape, &mut expected);
            linear_geglu(&x, LayerWeights::Panels(panels), None, shape, &mut got);
            assert_eq!(got, expected, "gated {shape:?}");
        };
        same(Weights::F32(&w), Weights::F32(&panels));
        let half = |w: &[f32]| w.iter().map(|&w| f16::from_f32(w)).collect::<Vec<_>>();
        same(Weights::F16(&half(&w)), Weights::F16(&half(&panels)));
        let brain = |w: &[f32]| w.iter().map(|&w| bf16::from_f32(w)).collect::<Vec<_>>();
        same(Weights::BF16(&brain(&w)), Weights::BF16(&brain(&panels)));
    }
}

#[test]
#[cfg_attr(target_family = "wasm", ignore = "nothing is unwound there")]
#[should_panic(expected = "20 outputs")]
fn panels_are_whole() {
    let shape = LinearShape { rows: 1, inputs: 1, outputs: 20 };
    linear(&[1.0], LayerWeights::Panels(Weights::F32(&[1.0; 20])), None, None, shape, &mut Vec::new());
}

#[test]
fn threads_do_not_change_a_bit() {
    let shape = LinearShape { rows: 1100, inputs: 400, outputs: 300 };
    let (x, w) = (random(shape.rows * shape.inputs, 7), random(shape.inputs * shape.outputs, 8));
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        let gated = LinearShape { outputs: 192, ..shape };
        linear_geglu(&x, Weights::F32(&w[..shape.inputs * 192]), None, gated, &mut out);
        out
    });
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        linear(&x, Weights::F32(&w), None, Some(&x[..shape.rows * shape.outputs]), shape, &mut out);
        out
    });
}

#[test]
fn a_nan_stays_in_its_row() {
    let shape = LinearShape { rows: 14, inputs: 33, outputs: 35 };
    let mut x = random(shape.rows * shape.inputs, 9);
    x[4 * shape.inputs + 3] = f32::NAN;
    let w = random(shape.inputs * shape.outputs, 10);
    let mut out = Vec::new();
    linear(&x, Weights::F32(&w), None, None, shape, &mut out);
    for (row, values) in out.chunks(shape.outputs).enumerate() {
        assert!(values.iter().all(|value| value.is_nan() == (row == 4)), "row {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(rows in 0usize..40, inputs in 0usize..90, outputs in 0usize..70) {
        check(LinearShape { rows, inputs, outputs });
        check_gated(LinearShape { rows, inputs, outputs: 2 * outputs });
    }
}
