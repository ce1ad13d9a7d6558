use hypersd_kernels::{Activation, Affine, Planes, group_norm, group_norm_in_place, layer_norm};
use proptest::prelude::*;

use super::reference::{largest_error, random, same_for_any_number_of_threads};

/// f32 rounding of values of size 1 to 5 through a norm and an activation; PyTorch has 1.7e-6.
const TOLERANCE: f64 = 2.5e-6;
const EPS: f32 = 1e-5;

fn normalised(x: &[f32]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    x.iter().map(|&x| (f64::from(x) - mean) / (variance + f64::from(EPS)).sqrt()).collect()
}

fn expected_groups(
    x: &[f32],
    channels: usize,
    area: usize,
    groups: usize,
    affine: Affine<'_>,
    silu: bool,
) -> Vec<f64> {
    let size = channels / groups * area;
    let values = x.chunks(size.max(1)).flat_map(normalised);
    let shifted = values.enumerate().map(|(i, x)| {
        let channel = i / area % channels;
        x * f64::from(affine.gamma[channel]) + f64::from(affine.beta[channel])
    });
    shifted.map(|x| if silu { x / (1.0 + (-x).exp()) } else { x }).collect()
}

fn check(batch: usize, channels: usize, (height, width): (usize, usize), groups: usize, offset: f32) {
    let area = height * width;
    let mut x: Vec<f32> = random(batch * channels * area, 1).iter().map(|x| x + offset).collect();
    let (gamma, beta) = (random(channels, 2), random(channels, 3));
    let affine = Affine { gamma: &gamma, beta: &beta, eps: EPS };
    // The mean itself is rounded to f32.
    let tolerance = TOLERANCE * f64::from(1.0 + offset.abs());
    for (activation, silu) in [(Activation::Identity, false), (Activation::Silu, true)] {
        let expected = expected_groups(&x, channels, area, groups, affine, silu);
        let mut out = vec![f32::NAN; 5];
        group_norm(Planes::new(&x, [batch, channels, height, width]), groups, affine, activation, &mut out);
        let error = largest_error(&out, &expected);
        assert!(error <= tolerance, "{batch}x{channels}x{height}x{width}/{groups}: {error:e}");
        if silu {
            group_norm_in_place(&mut x, [batch, channels, area], groups, affine, activation);
            assert_eq!(x, out);
        }
    }
}

#[test]
fn group_norm_of_network_shapes() {
    check(1, 320, (16, 16), 32, 0.0);
    check(2, 64, (9, 7), 32, 0.0);
    check(1, 32, (96, 96), 32, 0.0); // more than one chunk of moments
    check(1, 4, (1, 1), 2, 0.0);
}

/// Small enough for Miri.
#[test]
fn in_miniature() {
    check(2, 6, (3, 7), 3, 0.5);
}

#[test]
fn a_large_mean_costs_few_digits() {
    check(1, 8, (70, 70), 2, 100.0);
}

#[test]
fn a_constant_group_is_beta() {
    let x = vec![3.0; 4 * 50];
    let mut out = Vec::new();
    let affine = Affine { gamma: &[2.0; 4], beta: &[0.5; 4], eps: EPS };
    group_norm(Planes::new(&x, [1, 4, 5, 10]), 2, affine, Activation::Identity, &mut out);
    assert!(out.iter().all(|&y| y == 0.5), "{out:?}");
}

#[test]
fn joined_planes_are_normalised_as_their_concatenation() {
    let (batch, first, second, area) = (2, 5, 7, 6 * 11);
    let (a, b) = (random(batch * first * area, 4), random(batch * second * area, 5));
    let both: Vec<f32> = (0..batch)
        .flat_map(|i| {
            [&a[i * first * area..(i + 1) * first * area], &b[i * second * area..(i + 1) * second * area]]
        })
        .flatten()
        .copied()
        .collect();
    let (gamma, beta) = (random(12, 6), random(12, 7));
    let affine = Affine { gamma: &gamma, beta: &beta, eps: EPS };
    let (mut joined, mut copied) = (Vec::new(), Vec::new());
    // Groups of three: the second straddles the seam.
    let planes = Planes::new(&a, [batch, first, 6, 11]).join(&b, second);
    group_norm(planes, 4, affine, Activation::Silu, &mut joined);
    group_norm(Planes::new(&both, [batch, 12, 6, 11]), 4, affine, Activation::Silu, &mut copied);
    assert_eq!(joined, copied);
}

#[test]
fn a_nan_spoils_its_group_and_no_other() {
    for poison in [f32::NAN, f32::INFINITY] {
        let mut x = random(4 * 25, 8);
        x[30] = poison;
        let mut out = Vec::new();
        let affine = Affine { gamma: &[1.0; 4], beta: &[0.0; 4], eps: EPS };
        group_norm(Planes::new(&x, [1, 4, 5, 5]), 2, affine, Activation::Silu, &mut out);
        assert!(out[..50].iter().all(|y| y.is_nan()) && out[50..].iter().all(|y| y.is_finite()));
    }
}

#[test]
fn layer_norm_of_network_shapes_and_tails() {
    for (rows, n) in [(77, 768), (256, 320), (5, 1280), (3, 1), (1, 7), (0, 16), (20, 5000)] {
        let x = random(rows * n, 9);
        let (gamma, beta) = (random(n, 10), random(n, 11));
        let mut out = vec![1.0; 2];
        layer_norm(&x, Affine { gamma: &gamma, beta: &beta, eps: EPS }, &mut out);
        let expected: Vec<f64> = x
            .chunks(n)
            .flat_map(|row| {
                let row = normalised(row).into_iter().enumerate();
                row.map(|(i, x)| x * f64::from(gamma[i]) + f64::from(beta[i])).collect::<Vec<_>>()
            })
            .collect();
        let error = largest_error(&out, &expected);
        assert!(error <= TOLERANCE, "[{rows}, {n}]: {error:e}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let x = random(2 * 64 * 900, 12);
    let (gamma, beta) = (random(64, 13), random(64, 14));
    let affine = Affine { gamma: &gamma, beta: &beta, eps: EPS };
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        group_norm(Planes::new(&x, [2, 64, 30, 30]), 32, affine, Activation::Silu, &mut out);
        let mut rows = Vec::new();
        layer_norm(&out, affine, &mut rows);
        rows
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape(batch in 1usize..3, groups in 1usize..5, size in 1usize..5, height in 1usize..9, width in 1usize..9) {
        check(batch, groups * size, (height, width), groups, 0.0);
    }
}
