use half::{bf16, f16};
use hypersd_kernels::{LinearShape, Weights, low_rank_update};
use proptest::prelude::*;

use super::reference::{random, relative_l2, same_for_any_number_of_threads};

/// f32 sums of products of up to a few hundred terms.
const TOLERANCE: f64 = 1e-6;

const SCALE: f32 = -0.3;

/// A base, and the factors of what is added to it.
fn matrices(shape: LinearShape) -> [Vec<f32>; 3] {
    let LinearShape { rows, inputs, outputs } = shape;
    [random(rows * outputs, 1), random(rows * inputs, 2), random(inputs * outputs, 3)]
}

fn updated(base: Weights<'_>, left: &[f32], right: &[f32], shape: LinearShape) -> Vec<f32> {
    // A buffer with a past: its contents must not matter.
    let mut out = vec![f32::NAN; 7];
    assert!(low_rank_update(Some(base), SCALE, left, right, shape, &mut out));
    out
}

fn check(shape: LinearShape) {
    let LinearShape { rows, inputs, outputs } = shape;
    let [base, left, right] = matrices(shape);
    let cell = |row, column| {
        let product = |i| f64::from(left[row * inputs + i]) * f64::from(right[i * outputs + column]);
        f64::from(base[row * outputs + column]) + f64::from(SCALE) * (0..inputs).map(product).sum::<f64>()
    };
    let cell = &cell;
    let expected: Vec<f64> =
        (0..rows).flat_map(|row| (0..outputs).map(move |column| cell(row, column))).collect();
    let out = updated(Weights::F32(&base), &left, &right, shape);
    let error = relative_l2(&out, &expected);
    assert!(error <= TOLERANCE, "{shape:?}: {error:e}");

    let mut in_place = base;
    assert!(low_rank_update(None, SCALE, &left, &right, shape, &mut in_place));
    assert_eq!(in_place, out, "{shape:?} in place");
}

#[test]
fn shapes_of_the_networks_and_their_tails() {
    for (rows, inputs, outputs) in
        [(320, 64, 768), (1280, 64, 320), (320, 64, 2880), (600, 300, 24), (13, 40, 1100), (1, 1, 1)]
    {
        check(LinearShape { rows, inputs, outputs });
    }
}

/// Small enough for Miri.
#[test]
fn in_miniature() {
    check(LinearShape { rows: 26, inputs: 3, outputs: 19 });
}

#[test]
fn nothing_to_sum_or_to_write_is_no_special_case() {
    for (rows, inputs, outputs) in [(3, 0, 5), (0, 3, 5), (3, 5, 0)] {
        check(LinearShape { rows, inputs, outputs });
    }
}

#[test]
fn a_base_in_half_precision_is_widened_exactly() {
    let shape = LinearShape { rows: 90, inputs: 8, outputs: 700 };
    let [base, left, right] = matrices(shape);
    let half: Vec<f16> = base.iter().map(|&x| f16::from_f32(x)).collect();
    let widened: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    let of = |base| updated(base, &left, &right, shape);
    assert_eq!(of(Weights::F16(&half)), of(Weights::F32(&widened)));

    let brain: Vec<bf16> = base.iter().map(|&x| bf16::from_f32(x)).collect();
    let widened: Vec<f32> = brain.iter().map(|x| x.to_f32()).collect();
    assert_eq!(of(Weights::BF16(&brain)), of(Weights::F32(&widened)));
}

#[test]
fn a_sum_that_is_not_finite_is_told() {
    let shape = LinearShape { rows: 300, inputs: 2, outputs: 1027 };
    let [base, left, right] = matrices(shape);
    for at in [0, 1026, 150 * 1027 + 600, 300 * 1027 - 1] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut base = base.clone();
            base[at] = value;
            let mut out = Vec::new();
            assert!(!low_rank_update(Some(Weights::F32(&base)), SCALE, &left, &right, shape, &mut out));
            let odd = out.iter().position(|x| !x.is_finite());
            assert_eq!(odd, Some(at), "{value}");
        }
    }
    let large = vec![f32::MAX; 3];
    let shape = LinearShape { rows: 1, inputs: 1, outputs: 3 };
    let update = |scale: f32| low_rank_update(None, scale, &[1.0], &[1.0; 3], shape, &mut large.clone());
    assert!(update(0.0));
    assert!(!update(f32::MAX));
}

#[test]
fn threads_do_not_change_a_bit() {
    let shape = LinearShape { rows: 700, inputs: 70, outputs: 1500 };
    let [base, left, right] = matrices(shape);
    same_for_any_number_of_threads(|| updated(Weights::F32(&base), &left, &right, shape));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(rows in 0usize..70, inputs in 0usize..20, outputs in 0usize..70) {
        check(LinearShape { rows, inputs, outputs });
    }
}
