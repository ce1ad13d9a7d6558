//! Scaled dot-product attention.

use burn::tensor::{DType, FloatDType, Tensor, activation};

/// Most scores that are held at a time: 4 Mi, which is 16 MiB in f32. Self-attention over a 64x64 latent has 8 heads
/// of 4096 x 4096 scores, half a gigabyte.
const MAX_SCORES: usize = 1 << 22;

/// `softmax(q kᵀ / √d) v` for each head, with the softmax in f32.
///
/// # Shapes
/// - q `[B, S, heads·d]`, k and v `[B, T, heads·d]` → `[B, S, heads·d]`
#[must_use]
pub fn attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    let [b, s, width] = q.dims();
    let split = |x: Tensor<3>| {
        let [b, s, width] = x.dims();
        x.reshape([b, s, heads, width / heads]).swap_dims(1, 2) // [B, heads, S, d]
    };
    // Scaling the queries rather than the scores keeps f16 products in range.
    let q = split(q * ((width / heads) as f64).powf(-0.5));
    let (k, v) = (split(k).swap_dims(2, 3), split(v)); // k: [B, heads, d, T]

    let rows = (MAX_SCORES / (b * heads * k.dims()[3])).clamp(1, s);
    let chunks = (0..s).step_by(rows).map(|start| {
        let q = q.clone().narrow(2, start, rows.min(s - start));
        softmax(q.matmul(k.clone())).matmul(v.clone()).swap_dims(1, 2) // [B, rows, heads, d]
    });
    Tensor::cat(chunks.collect(), 1).reshape([b, s, width])
}

/// Softmax over the keys, computed in f32 whatever the type of the scores.
fn softmax(scores: Tensor<4>) -> Tensor<4> {
    match scores.dtype() {
        DType::F16 | DType::BF16 => {
            let dtype: FloatDType = scores.dtype().into();
            activation::softmax(scores.cast(FloatDType::F32), 3).cast(dtype)
        }
        _ => activation::softmax(scores, 3),
    }
}
