//! Nearest-neighbour enlargement.

use burn::tensor::Tensor;

/// Doubles height and width, every pixel becoming four.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, 2H, 2W]`
#[must_use]
pub fn upsample(x: Tensor<4>) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, 2, w, 2]).reshape([b, c, 2 * h, 2 * w])
}

/// Enlarges to `size` = `[h, w]`, each twice the input's or one less. Nearest neighbour to an odd size equals
/// doubling and dropping the last row or column: `⌊i · H / (2H − 1)⌋ = ⌊i / 2⌋` for every `i` in range.
///
/// # Shapes
/// - x `[B, C, H, W]` → `[B, C, h, w]`
#[must_use]
pub fn upsample_to(x: Tensor<4>, [h, w]: [usize; 2]) -> Tensor<4> {
    let x = upsample(x);
    let [_, _, double_h, double_w] = x.dims();
    if [double_h, double_w] == [h, w] { x } else { x.narrow(2, 0, h).narrow(3, 0, w) }
}
