//! Enlargement of feature maps.

use crate::{
    Planes,
    output::{Axis, Split, fill, update},
};

/// Enlarges or shrinks every plane to `[height, width]`, each pixel being the one of `x` at `⌊i · from / to⌋` in both
/// directions.
///
/// `out [batch, channels, height, width]` is overwritten; its capacity is used again.
///
/// # Panics
/// If `x` has no pixels and the output has.
pub fn resize_nearest(x: Planes<'_>, [height, width]: [usize; 2], out: &mut Vec<f32>) {
    assert!(height * width == 0 || x.area() > 0, "there are no pixels to enlarge");
    let columns = columns(x, width);
    fill(out, by_planes(x, [height, width]), |block, to| {
        let mut lines = Lines::new(x, block.layer, height, &columns);
        to.write(|row, to| to.write_copy_of_slice(lines.line(row)))
    });
}

/// Does what [`resize_nearest`] does, to memory that holds something already, as much of it.
pub(crate) fn resize_nearest_to(x: Planes<'_>, [height, width]: [usize; 2], out: &mut [f32]) {
    let columns = columns(x, width);
    update(out, by_planes(x, [height, width]), |block, mut to| {
        let mut lines = Lines::new(x, block.layer, height, &columns);
        for row in 0..height {
            to.row(row).copy_from_slice(lines.line(row));
        }
    });
}

fn by_planes(x: Planes<'_>, [height, width]: [usize; 2]) -> Split {
    Split::new(x.batch() * x.channels(), Axis::whole(height), Axis::whole(width))
}

/// The column that each of `width` columns of the output comes from.
fn columns(x: Planes<'_>, width: usize) -> Vec<usize> {
    (0..width).map(|i| i * x.width() / width).collect()
}

/// The lines of an output plane, from the first to the last.
struct Lines<'a> {
    pixels: &'a [f32],
    /// Pixels per line, and lines, of the input.
    size: [usize; 2],
    /// Lines of the output.
    height: usize,
    columns: &'a [usize],
    line: Vec<f32>,
    /// The line of the input that `line` comes from.
    source: Option<usize>,
}

impl<'a> Lines<'a> {
    fn new(x: Planes<'a>, plane: usize, height: usize, columns: &'a [usize]) -> Self {
        let pixels = x.plane(plane / x.channels(), plane % x.channels());
        let line = vec![0.0; columns.len()];
        Self { pixels, size: [x.width(), x.height()], height, columns, line, source: None }
    }

    /// The line numbered `row`. Where several have one source, it is widened once.
    fn line(&mut self, row: usize) -> &[f32] {
        let [width, height] = self.size;
        let source = row * height / self.height;
        if self.source.replace(source) != Some(source) {
            let from = &self.pixels[source * width..][..width];
            self.line.iter_mut().zip(self.columns).for_each(|(to, &column)| *to = from[column]);
        }
        &self.line
    }
}
