//! Nearest-neighbour enlargement, and the convolution after it.

use burn::tensor::{
    Tensor, module,
    ops::{InterpolateMode, InterpolateOptions},
};

use super::conv2d;
#[cfg(feature = "flex")]
use super::cpu;
use crate::{backend::is_flex, weights::Conv2d};

/// Enlarges to `size` = `[h, w]`, each twice the input's or one less, as a network needs whose image did not halve
/// evenly; every pixel becomes four. Then a convolution.
///
/// # Shapes
/// - x `[B, c_in, H, W]` → `[B, c_out, h, w]`, if the convolution keeps the size
#[must_use]
pub fn upsample_conv2d(x: Tensor<4>, size: [usize; 2], layer: &Conv2d) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) && cpu::has_doubled_conv2d(&x, size, layer) {
        return cpu::conv2d_doubled(x, layer);
    }
    conv2d(upsample(x, size), layer)
}

fn upsample(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if cpu::takes(&x) {
        return cpu::resize_nearest(x, size);
    }
    if is_flex(&x.device()) {
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        module::interpolate(x, options)
    } else {
        repeated(x, size)
    }
}

/// By repetition, which GPUs do in one copy. Nearest neighbour to an odd size is doubling without the last row or
/// column: `⌊i · H / (2H − 1)⌋ = ⌊i / 2⌋` for every `i` in range.
fn repeated(x: Tensor<4>, [h, w]: [usize; 2]) -> Tensor<4> {
    let [b, c, half_h, half_w] = x.dims();
    let x = x.reshape([b, c, half_h, 1, half_w, 1]).expand([b, c, half_h, 2, half_w, 2]);
    let x = x.reshape([b, c, 2 * half_h, 2 * half_w]);
    if [2 * half_h, 2 * half_w] == [h, w] { x } else { x.narrow(2, 0, h).narrow(3, 0, w) }
}

#[cfg(test)]
mod tests {
    use hypersd_testing::{Array, assert_close};

    use super::*;

    #[test]
    fn pixels_are_repeated() {
        let x = Array { shape: vec![1, 1, 2, 3], data: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let even = Array {
            shape: vec![1, 1, 4, 6],
            data: [[1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [4.0, 4.0, 5.0, 5.0, 6.0, 6.0]]
                .map(|row| row.repeat(2))
                .concat(),
        };
        let odd = Array {
            shape: vec![1, 1, 3, 5],
            data: [[1.0, 1.0, 2.0, 2.0, 3.0], [1.0, 1.0, 2.0, 2.0, 3.0], [4.0, 4.0, 5.0, 5.0, 6.0]].concat(),
        };
        assert_close("doubled", upsample(x.tensor(), [4, 6]), &even, 0.0);
        assert_close("to an odd size", upsample(x.tensor(), [3, 5]), &odd, 0.0);
        assert_close("doubled by repetition", repeated(x.tensor(), [4, 6]), &even, 0.0);
        assert_close("to an odd size by repetition", repeated(x.tensor(), [3, 5]), &odd, 0.0);
    }
}
