//! Scaled dot-product attention.

use burn::tensor::{
    DType, FloatDType, Tensor, activation, module,
    ops::{AttentionModuleOptions, PadMode},
};

use crate::{backend::is_flex, weights::Linear};

/// Up to so many keys (a prompt has 77) the scores are small, and GPUs have no fused kernel for them.
const FEW_KEYS: usize = 128;
/// Above this width of a head (the VAE has one of 512) nothing is won by a fused kernel.
const WIDE_HEAD: usize = 256;
/// Most scores that the composed attention holds at a time: 4 Mi, which is 16 MiB in f32.
const MAX_SCORES: usize = 1 << 22;
/// The fused kernels of GPUs take heads of multiples of this width.
const TILE: usize = 16;
/// They take queries in whole blocks of this many at least; for others Burn holds all scores at once instead.
const BLOCK: usize = 32;

/// `softmax(q kᵀ / √d) v` for each head, with the softmax in f32. Never holds all the scores of long sequences: those
/// of a 64x64 latent are half a gigabyte.
///
/// # Shapes
/// - q `[B, S, heads·d]`, k and v `[B, T, heads·d]` → `[B, S, heads·d]`
#[must_use]
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if super::cpu::takes(&q) {
        return super::cpu::attention([q, k, v], heads, false, false);
    }
    burns_attention(q, k, v, heads)
}

/// [`attention`] of what a layer projected: where the processor multiplies bf16 faster than f32 and the layer multiplies
/// narrow numbers, its queries, keys and values are multiplied in bf16.
#[must_use]
pub(crate) fn attention_of(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: usize,
    to_q: &Linear,
) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if super::cpu::takes(&q) {
        return super::cpu::attention([q, k, v], heads, false, to_q.has_narrow_products());
    }
    #[cfg(not(feature = "flex"))]
    let _ = to_q;
    burns_attention(q, k, v, heads)
}

fn burns_attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    let (shape, t) = (q.dims(), k.dims()[1]);
    let (flex, d) = (is_flex(&q.device()), shape[2] / heads);
    let unfused = t <= FEW_KEYS || d > WIDE_HEAD || !(flex || shape[1].is_multiple_of(BLOCK));
    #[cfg(feature = "gpu")]
    if unfused && super::gpu::takes(&q) {
        return super::gpu::attention(q, k, v, heads, false);
    }
    let [q, k, v] = [q, k, v].map(|x| split(x, heads));
    let out = if unfused {
        composed(q, k, v, MAX_SCORES)
    } else if flex || d.is_multiple_of(TILE) {
        fused(q, k, v)
    } else {
        padded(q, k, v)
    };
    out.swap_dims(1, 2).reshape(shape)
}

/// `[B, S, heads·d]` → `[B, heads, S, d]`
pub(super) fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [b, s, width] = x.dims();
    x.reshape([b, s, heads, width / heads]).swap_dims(1, 2)
}

/// Burn's kernel. It must be left to scale by itself: with a given scale, GPUs fall back to holding all scores.
fn fused(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    module::attention(q, k, v, None, None, AttentionModuleOptions::default())
}

/// [`fused`] with zeros added to every head: SD1.5's 40 become 48. They change no score but the scale, 1/√48 for
/// 1/√40, which the queries make up for.
fn padded(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let d = q.dims()[3];
    let wide = d.next_multiple_of(TILE);
    let pad = |x: Tensor<4>| x.pad((0, wide - d, 0, 0), PadMode::Constant(0.0));
    fused(pad(q * (wide as f64 / d as f64).sqrt()), pad(k), pad(v)).narrow(3, 0, d)
}

/// Products and softmax one after the other, for as many queries at a time as give `max_scores`.
fn composed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, max_scores: usize) -> Tensor<4> {
    let [b, heads, s, d] = q.dims();
    let q = q * (d as f64).powf(-0.5); // not the scores: f16 could not hold their unscaled products
    let k = k.swap_dims(2, 3);
    let rows = (max_scores / (b * heads * k.dims()[3])).clamp(1, s);
    let chunks = (0..s).step_by(rows).map(|start| {
        let q = q.clone().narrow(2, start, rows.min(s - start));
        softmax(q.matmul(k.clone())).matmul(v.clone())
    });
    Tensor::cat(chunks.collect(), 2)
}

/// Softmax over the keys, computed in f32 whatever the type of the scores.
pub(super) fn softmax(scores: Tensor<4>) -> Tensor<4> {
    match scores.dtype() {
        DType::F16 | DType::BF16 => {
            let dtype: FloatDType = scores.dtype().into();
            activation::softmax(scores.cast(FloatDType::F32), 3).cast(dtype)
        }
        _ => activation::softmax(scores, 3),
    }
}

#[cfg(test)]
mod tests {
    use hypersd_testing::{Array, assert_close, tolerance};
    use proptest::prelude::*;

    use super::*;

    /// Sums of up to 200 products, in another order.
    const F32: f64 = 2e-6;

    /// Numbers that look random, of about unit variance.
    fn numbers(seed: u32, shape: [usize; 4]) -> Array {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 * 1.7 - 1.7
        };
        Array { shape: shape.to_vec(), data: (0..shape.iter().product()).map(|_| next()).collect() }
    }

    /// The definition, in f64.
    fn defined(q: &Array, k: &Array, v: &Array) -> Array {
        let [b, heads, s, d] = q.shape[..] else { unreachable!("four dimensions") };
        let t = k.shape[2];
        let mut data = Vec::new();
        for head in 0..b * heads {
            let rows = |x: &Array, n: usize| -> Vec<Vec<f64>> {
                let head = &x.data[head * n * d..][..n * d];
                head.chunks(d).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
            };
            let (keys, values) = (rows(k, t), rows(v, t));
            for query in rows(q, s) {
                let dot = |key: &Vec<f64>| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
                let weights: Vec<f64> = keys.iter().map(|key| (dot(key) / (d as f64).sqrt()).exp()).collect();
                let sum: f64 = weights.iter().sum();
                data.extend((0..d).map(|i| {
                    (weights.iter().zip(&values).map(|(w, value)| w * value[i]).sum::<f64>() / sum) as f32
                }));
            }
        }
        Array { shape: q.shape.clone(), data }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_way_is_the_definition(
            (b, heads, s, t, d) in (1..3_usize, 1..4_usize, 1..20_usize, 1..200_usize, 1..41_usize),
            max_scores in 1..2000_usize,
            seed: u32,
        ) {
            let q = numbers(seed, [b, heads, s, d]);
            let [k, v] = [1, 2].map(|i| numbers(seed ^ i, [b, heads, t, d]));
            let want = defined(&q, &k, &v);
            let (q, k, v) = (q.tensor::<4>(), k.tensor::<4>(), v.tensor::<4>());
            let ways = [
                ("fused", fused(q.clone(), k.clone(), v.clone())),
                ("padded", padded(q.clone(), k.clone(), v.clone())),
                ("composed", composed(q, k, v, max_scores)),
            ];
            for (name, got) in ways {
                assert_close(name, got, &want, tolerance(F32));
            }
        }
    }

    #[test]
    fn heads_are_slices_of_the_width() {
        // Two heads of width 1: each sees its own half of queries, keys and values.
        let tensor = |rows: [[f32; 2]; 2]| Array { shape: vec![1, 2, 2], data: rows.concat() }.tensor::<3>();
        let q = tensor([[100.0, -100.0], [-100.0, 100.0]]);
        let k = tensor([[1.0, 1.0], [-1.0, -1.0]]);
        let v = tensor([[10.0, 20.0], [30.0, 40.0]]);
        let want = Array { shape: vec![1, 2, 2], data: vec![10.0, 40.0, 30.0, 20.0] };
        assert_close("out", attention(q, k, v, 2), &want, tolerance(F32));
    }
}
