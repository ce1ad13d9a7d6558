//! Attention for the text encoders.

use burn::tensor::{Tensor, module, ops::AttentionModuleOptions};

/// `softmax(q kᵀ / √d) v` for each head, each position seeing itself and what is before it.
///
/// # Shapes
/// - q, k and v `[B, S, heads·d]` → `[B, S, heads·d]`
#[must_use]
pub fn causal_attention(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, heads: usize) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if super::cpu::takes(&q) {
        return super::cpu::attention(q, k, v, heads, true);
    }
    let [b, s, width] = q.dims();
    let split = |x: Tensor<3>| x.reshape([b, s, heads, width / heads]).swap_dims(1, 2); // [B, heads, S, d]
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    let y = module::attention(split(q), split(k), split(v), None, None, options);
    y.swap_dims(1, 2).reshape([b, s, width])
}
