use hypersd_kernels::{Activation, activate_in_place, geglu};
use proptest::prelude::*;

use super::reference::{erf, largest_error, random, same_class, same_for_any_number_of_threads};

/// What an f32 evaluation leaves at |x| = 12, as in PyTorch (1.2e-6).
const TOLERANCE: f64 = 1.5e-6;

/// Of SiLU down to x = -80: without a fused multiply-add, the fraction of x log2(e) is rounded with the whole.
const RELATIVE: f64 = 8e-6;

const ALL: [Activation; 5] =
    [Activation::Identity, Activation::Relu, Activation::Silu, Activation::Gelu, Activation::QuickGelu];

fn expected(x: f32, activation: Activation) -> f64 {
    let x = f64::from(x);
    match activation {
        Activation::Identity => x,
        Activation::Relu if x.is_nan() => x,
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
    }
}

fn check(values: &[f32]) {
    crate::choose_instruction_set();
    for activation in ALL {
        let mut out = values.to_vec();
        activate_in_place(&mut out, activation);
        let expected: Vec<f64> = values.iter().map(|&x| expected(x, activation)).collect();
        let error = largest_error(&out, &expected);
        assert!(error <= TOLERANCE, "{activation:?}: {error:e}");
    }
}

#[test]
fn activations_on_a_fine_grid() {
    let grid: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
    check(&grid);
}

#[test]
fn every_tail() {
    for len in 0..40 {
        check(&random(len, len as u64));
    }
}

#[test]
fn extremes_come_out_as_in_the_composed_function() {
    crate::choose_instruction_set();
    // One vector of each, so that no lane hides behind another.
    for x in
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, 1e4, -1e4]
    {
        for activation in ALL {
            let mut out = [x; 19];
            activate_in_place(&mut out, activation);
            // f32 arithmetic: e^-x overflows there, and x * 0 is NaN for infinite x.
            let value = match (activation, x) {
                (Activation::Silu | Activation::Gelu | Activation::QuickGelu, f32::NEG_INFINITY) => f64::NAN,
                (Activation::Silu | Activation::Gelu | Activation::QuickGelu, f32::MIN) => 0.0,
                _ => expected(x, activation),
            };
            assert!(same_class(&out, &[value; 19]), "{activation:?} of {x}: {out:?}, expected {value}");
        }
    }
}

#[test]
fn the_gate_multiplies_the_first_half() {
    for (rows, n) in [(1, 1), (3, 5), (77, 160), (5, 1280), (0, 4), (40, 1001)] {
        let x = random(rows * 2 * n, 11);
        let mut out = vec![9.0; 3];
        geglu(&x, n, &mut out);
        let mut values = Vec::new();
        for row in x.chunks(2 * n) {
            values.extend((0..n).map(|i| f64::from(row[i]) * expected(row[n + i], Activation::Gelu)));
        }
        let error = largest_error(&out, &values);
        assert!(error <= TOLERANCE, "[{rows}, {n}]: {error:e}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let x = random(100_000, 12);
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        geglu(&x, 500, &mut out);
        activate_in_place(&mut out, Activation::Silu);
        out
    });
}

proptest! {
    #[test]
    fn silu_of_any_number_is_close(x in prop::num::f32::ANY) {
        let mut out = [x];
        activate_in_place(&mut out, Activation::Silu);
        if x.is_finite() && x > -80.0 {
            let expected = expected(x, Activation::Silu);
            prop_assert!((f64::from(out[0]) - expected).abs() <= RELATIVE * expected.abs().max(1e-30), "{x}: {}", out[0]);
        }
    }
}
