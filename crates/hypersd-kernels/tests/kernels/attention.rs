use hypersd_kernels::{AttentionShape, HeadLayout, attention, attention_bf16};
use proptest::prelude::*;

use super::reference::{random, relative_l2, same_for_any_number_of_threads};

/// PyTorch has 3e-7 to 4e-7 on the shapes of the networks.
const TOLERANCE: f64 = 1e-6;

/// Four roundings to 8 bits on the way, of numbers whose errors do not cancel; seen are 3e-3 to 5e-3.
const HALVES: f64 = 1.5e-2;

/// One number of q, k, v or out by its coordinates.
fn at(shape: &AttentionShape, tokens: usize, [batch, head, token, i]: [usize; 4]) -> usize {
    match shape.layout {
        HeadLayout::HeadMajor => ((batch * shape.heads + head) * tokens + token) * shape.width + i,
        HeadLayout::TokenMajor => ((batch * tokens + token) * shape.heads + head) * shape.width + i,
    }
}

fn expected(q: &[f32], k: &[f32], v: &[f32], shape: &AttentionShape) -> Vec<f64> {
    let AttentionShape { batch, heads, queries, keys, width, scale, causal, .. } = *shape;
    let mut out = vec![0.0; q.len()];
    for (b, h, query) in
        (0..batch).flat_map(|b| (0..heads).flat_map(move |h| (0..queries).map(move |query| (b, h, query))))
    {
        let seen = if causal { keys.min(query + 1) } else { keys };
        let score = |key: usize| -> f64 {
            let term = |i| {
                let (q, k) = (q[at(shape, queries, [b, h, query, i])], k[at(shape, keys, [b, h, key, i])]);
                f64::from(q) * f64::from(k)
            };
            (0..width).map(term).sum::<f64>() * f64::from(scale)
        };
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for i in 0..width {
            let weighted = (0..seen).map(|key| weights[key] * f64::from(v[at(shape, keys, [b, h, key, i])]));
            out[at(shape, queries, [b, h, query, i])] = weighted.sum::<f64>() / sum;
        }
    }
    out
}

fn check(shape: AttentionShape) {
    check_within(shape, TOLERANCE);
}

fn check_within(shape: AttentionShape, tolerance: f64) {
    let AttentionShape { batch, heads, queries, keys, width, .. } = shape;
    let q = random(batch * heads * queries * width, 1);
    let (k, v) = (random(batch * heads * keys * width, 2), random(batch * heads * keys * width, 3));
    let mut out = vec![f32::NAN; 3];
    attention(&q, &k, &v, shape, &mut out);
    let error = relative_l2(&out, &expected(&q, &k, &v, &shape));
    assert!(error <= tolerance, "{shape:?}: {error:e}");
    attention_bf16(&q, &k, &v, shape, &mut out);
    let error = relative_l2(&out, &expected(&q, &k, &v, &shape));
    // Large scores magnify what rounding does to them.
    let most = if tolerance == TOLERANCE { HALVES } else { f64::MAX };
    assert!(error <= most, "{shape:?} in bf16: {error:e}");
}

fn shape(heads: usize, queries: usize, keys: usize, width: usize) -> AttentionShape {
    let scale = 1.0 / (width as f32).sqrt();
    AttentionShape {
        batch: 1,
        heads,
        queries,
        keys,
        width,
        layout: HeadLayout::TokenMajor,
        scale,
        causal: false,
    }
}

#[test]
fn every_head_width_of_the_networks() {
    for width in [40, 64, 80, 160, 512] {
        check(shape(2, 100, 300, width));
        check(shape(2, 97, 77, width));
    }
}

/// Small enough for Miri.
#[test]
fn in_miniature() {
    check(shape(2, 5, 7, 8));
    check(AttentionShape { causal: true, ..shape(1, 18, 18, 9) });
}

#[test]
fn head_major_batches() {
    check(AttentionShape { batch: 2, layout: HeadLayout::HeadMajor, ..shape(3, 200, 77, 40) });
    check(AttentionShape { batch: 2, ..shape(3, 5, 513, 24) });
}

#[test]
fn causal_text() {
    check(AttentionShape { causal: true, ..shape(12, 77, 77, 64) });
    // More than one block of keys, the last ones unseen by the first block of queries.
    check(AttentionShape { causal: true, layout: HeadLayout::HeadMajor, ..shape(1, 600, 600, 16) });
}

#[test]
fn large_scores_do_not_overflow() {
    // Scores of several hundred, whose f32 rounding of 1e-5 is the relative error of their powers.
    check_within(AttentionShape { scale: 40.0, ..shape(1, 50, 300, 16) }, 1e-5);
}

#[test]
fn nothing_to_attend_to_is_nan() {
    let mut out = Vec::new();
    attention(&[1.0; 6], &[], &[], shape(1, 2, 0, 3), &mut out);
    assert!(out.len() == 6 && out.iter().all(|x| x.is_nan()));
}

#[test]
fn a_nan_key_spoils_its_head_and_no_other() {
    let shape = AttentionShape { layout: HeadLayout::HeadMajor, ..shape(2, 10, 300, 16) };
    let (q, mut k) = (random(2 * 10 * 16, 4), random(2 * 300 * 16, 5));
    k[280 * 16] = f32::NAN;
    let mut out = Vec::new();
    attention(
        &q,
        &k,
        &k.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect::<Vec<_>>(),
        shape,
        &mut out,
    );
    assert!(out[..160].iter().all(|x| x.is_nan()) && out[160..].iter().all(|x| x.is_finite()));
}

#[test]
fn threads_do_not_change_a_bit() {
    let shape = shape(4, 300, 300, 40);
    let q = random(4 * 300 * 40, 6);
    same_for_any_number_of_threads(|| {
        let mut out = Vec::new();
        attention(&q, &q, &q, shape, &mut out);
        out
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(
        batch in 1usize..3, heads in 1usize..4, queries in 0usize..120, keys in 1usize..90, width in 1usize..50,
        token_major: bool, causal: bool,
    ) {
        let layout = if token_major { HeadLayout::TokenMajor } else { HeadLayout::HeadMajor };
        check(AttentionShape { batch, layout, causal, ..shape(heads, queries, keys, width) });
    }
}
