use hypersd_kernels::{Planes, resize_nearest};
use proptest::prelude::*;

use super::reference::{random, same_for_any_number_of_threads};

proptest! {
    #[test]
    fn every_pixel_is_the_one_below_it(
        batch in 1..3_usize,
        channels in 1..4_usize,
        (height, width) in (1..9_usize, 1..40_usize),
        (to_height, to_width) in (0..20_usize, 0..80_usize),
    ) {
        crate::choose_instruction_set();
        let x = random(batch * channels * height * width, 1);
        let resize = || {
            let mut out = Vec::new();
            let x = Planes::new(&x, [batch, channels, height, width]);
            resize_nearest(x, [to_height, to_width], &mut out);
            out
        };
        same_for_any_number_of_threads(resize);
        let got = resize();
        prop_assert_eq!(got.len(), batch * channels * to_height * to_width);
        // In floating point, as PyTorch's `nearest` is defined; these sizes are exact in f64.
        let from = |i: usize, from: usize, to: usize| (i as f64 * from as f64 / to as f64 + 1e-9) as usize;
        for (i, &value) in got.iter().enumerate() {
            let (plane, row, column) = (i / (to_height * to_width), i / to_width % to_height, i % to_width);
            let (y, z) = (from(row, height, to_height), from(column, width, to_width));
            prop_assert_eq!(value, x[(plane * height + y) * width + z]);
        }
    }
}
