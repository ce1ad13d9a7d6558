//! Enlargement of feature maps.

#![expect(unsafe_code, reason = "tasks write disjoint planes of one output")]

use crate::{
    Planes,
    output::{Out, fill, parallel},
};

/// Enlarges or shrinks every plane to `[height, width]`, each pixel being the one of `x` at `⌊i · from / to⌋` in both
/// directions.
///
/// `out [batch, channels, height, width]` is overwritten; its capacity is used again.
///
/// # Panics
/// If `x` has no pixels and the output has.
pub fn resize_nearest(x: Planes<'_>, [height, width]: [usize; 2], out: &mut Vec<f32>) {
    let area = height * width;
    assert!(area == 0 || x.area() > 0, "there are no pixels to enlarge");
    // SAFETY: all rows of all planes are written.
    unsafe { fill(out, x.batch() * x.channels() * area, |out| nearest(x, [height, width], out)) };
}

/// Writes all of `out`.
pub(crate) fn nearest(x: Planes<'_>, [height, width]: [usize; 2], out: Out<'_>) {
    let columns: Vec<usize> = (0..width).map(|i| i * x.width() / width).collect();
    parallel(x.batch() * x.channels(), |plane| {
        let pixels = x.plane(plane / x.channels(), plane % x.channels());
        let source = |row: usize| row * x.height() / height;
        for row in 0..height {
            let to = out.at((plane * height + row) * width, width);
            if row > 0 && source(row) == source(row - 1) {
                // SAFETY: the row before, which is written, and this one, both of this task.
                unsafe { to.copy_from_nonoverlapping(to.sub(width), width) };
                continue;
            }
            let from = &pixels[source(row) * x.width()..][..x.width()];
            for (i, &column) in columns.iter().enumerate() {
                // SAFETY: `to` has `width` values, which are this task's.
                unsafe { *to.add(i) = from[column] };
            }
        }
    });
}
