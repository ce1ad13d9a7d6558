//! Attention for the text encoders.

use burn::tensor::{Bool, FloatDType, Tensor, module, ops::AttentionModuleOptions};

use super::attention::{softmax, split};
use crate::backend::is_flex;

/// What scores of later positions become: their exponential is 0. Not −∞, which WGSL has no constant for.
const NEVER: f32 = -1e9;

/// `softmax(q kᵀ / √d) v` for each head, each position seeing itself and what is before it, with the softmax in f32.
///
/// # Shapes
/// - q, k and v `[B, S, heads·d]` → `[B, S, heads·d]`
#[must_use]
pub fn causal_attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if super::cpu::takes(&q) {
        return super::cpu::attention([q, k, v], heads, true, false);
    }
    #[cfg(feature = "gpu")]
    if super::gpu::takes(&q) {
        return super::gpu::attention(q, k, v, heads, true);
    }
    let shape = q.dims();
    let [q, k, v] = [q, k, v].map(|x| split(x, heads));
    let out = if is_flex(&q.device()) { fused(q, k, v) } else { composed(q, k, v) };
    out.swap_dims(1, 2).reshape(shape)
}

/// Burn's kernel.
fn fused(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    module::attention(q, k, v, None, None, options)
}

/// What GPUs have no fused kernel for, because a prompt has 77 positions, and what Burn would compose with products
/// that are scaled only after f16 may have overflowed.
fn composed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let [_, _, s, d] = q.dims();
    let dtype: FloatDType = q.dtype().into();
    let later = Tensor::<2, Bool>::tril_mask([s, s], 0, &q.device()).unsqueeze();
    let scores = (q * (d as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)).cast(FloatDType::F32);
    softmax(scores.mask_fill(later, NEVER)).cast(dtype).matmul(v)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use hypersd_testing::{Array, activation_dtype, assert_close, device, tolerance};

    use super::*;

    /// Sums of up to 40 products, in another order.
    const F32: f64 = 2e-6;

    #[test]
    fn both_ways_are_the_same() {
        for [s, d] in [[1, 8], [5, 16], [77, 40]] {
            let random = || {
                Tensor::<4>::random([2, 3, s, d], Distribution::Normal(0.0, 1.0), &device())
                    .cast(activation_dtype())
            };
            let [q, k, v] = [(); 3].map(|()| random());
            let want = fused(q.clone(), k.clone(), v.clone()).cast(FloatDType::F32);
            let want =
                Array { shape: want.dims().to_vec(), data: want.into_data().try_into_vec_as().expect("f32") };
            assert_close(&format!("{s} positions of {d}"), composed(q, k, v), &want, tolerance(F32));
        }
    }
}
