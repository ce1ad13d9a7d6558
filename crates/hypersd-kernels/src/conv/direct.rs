//! Convolution as a matrix product: weights `[outputs, inputs * taps]`, read where they are stored, times the windows,
//! packed a block of pixels at a time and never as a whole.

use std::ops::Range;

use super::{Conv, ConvShape};
use crate::{
    LayerWeights, Weights,
    elementwise::InOut,
    gemm::{Ahead, Base, DEPTH, Product, depth_chunks},
    operands::{Panels, Rows, RowsMut, Unwritten},
    output::{Axis, Split, fill, share},
    pack::copy_row,
    panel::PANEL,
    scratch::Scratch,
};

/// Pixels of one task.
const TASK_PIXELS: usize = 8 * PANEL;
/// Output channels of one task: enough to make its packing cheap.
const TASK_OUTPUTS: usize = 320;

/// Computes the whole convolution.
pub(super) fn conv(conv: &Conv<'_>, out: &mut Vec<f32>) {
    let (outputs, pixels) = (conv.shape.outputs, conv.area());
    let by_channels = Axis::new(outputs, PANEL, outputs.div_ceil(TASK_OUTPUTS));
    let by_pixels = Axis::new(pixels, 1, pixels.div_ceil(TASK_PIXELS));
    fill(out, Split::new(conv.x.batch(), by_channels, by_pixels), |block, to| {
        Block { image: block.layer, pixels: block.columns, outputs: block.rows }.compute(conv, to)
    });
}

/// The weights of `outputs` for `depths`: where they are stored if they can be read there, else in `widened`. Outputs in
/// panels are those of one panel.
fn weights<'a>(
    conv: &'a Conv<'_>,
    outputs: Range<usize>,
    depths: Range<usize>,
    widened: &'a mut [f32],
) -> Rows<'a> {
    let depth = conv.depth();
    let start = outputs.start * depth;
    let (values, strides): (&[f32], _) = match conv.weights.wide(conv.shape.kernel) {
        LayerWeights::Plain(Weights::F32(values)) => (&values[start + depths.start..], [depth, 1]),
        LayerWeights::Plain(half) => {
            for (row, widened) in
                widened.chunks_exact_mut(depths.len().max(1)).take(outputs.len()).enumerate()
            {
                half.read(start + row * depth + depths.start, widened);
            }
            (widened, [depths.len(), 1])
        }
        LayerWeights::Panels(Weights::F32(values)) => (&values[start + depths.start * PANEL..], [1, PANEL]),
        LayerWeights::Panels(half) => {
            half.read(start + depths.start * PANEL, &mut widened[..depths.len() * PANEL]);
            (widened, [1, PANEL])
        }
        LayerWeights::Bf16(_) | LayerWeights::Int8(_) => unreachable!("kernel bug: narrow weights"),
    };
    Rows::new(values, [outputs.len(), depths.len()], strides)
}

/// The part of the output that one task computes.
struct Block {
    image: usize,
    pixels: Range<usize>,
    outputs: Range<usize>,
}

impl Block {
    fn compute<'to>(&self, conv: &Conv<'_>, to: Unwritten<'to>) -> RowsMut<'to> {
        let Self { image, ref pixels, ref outputs } = *self;
        let depth = conv.depth();
        let chunks = depth_chunks(depth);
        let panels = pixels.len().div_ceil(PANEL);
        let mut packed = Scratch::take(panels * depth.div_ceil(chunks) * PANEL);
        // Of the output, each channel lies in a place of its own, and those far apart fight for the same sets of a cache.
        let stride = (panels | 1) * PANEL;
        let mut sums = Scratch::take(outputs.len() * stride);
        // Outputs of one product: those whose weights are as far apart from each other as from the next.
        let rows = match conv.weights.wide(conv.shape.kernel) {
            LayerWeights::Panels(_) => PANEL,
            _ => outputs.len(),
        };
        let mut widened = Scratch::take(match conv.weights.values() {
            Weights::F32(_) => 0,
            _ => rows * depth.div_ceil(chunks),
        });
        for chunk in 0..chunks {
            let depths = share(depth, chunks, chunk);
            self.pack(conv, depths.clone(), &mut packed);
            let pixels = self.pixels_after(conv, chunk, chunks);
            let mut next =
                if chunk + 1 < chunks { pixels } else { self.outputs_ahead(conv, &to).then(pixels) };
            for first in (0..outputs.len()).step_by(rows) {
                let outputs = outputs.start + first..outputs.start + first + rows;
                let product = Product {
                    a: weights(conv, outputs, depths.clone(), &mut widened),
                    b: Panels::new(&packed, [panels, depths.len()], [depths.len() * PANEL, PANEL]),
                    c: RowsMut::new(&mut sums[first * stride..], [rows, panels * PANEL], stride),
                    base: Base::sum_of_pieces(chunk),
                    run: DEPTH,
                    next: std::mem::replace(&mut next, Ahead::NOTHING),
                };
                product.run();
            }
        }
        to.write(|channel, pixels| {
            let sums = &sums[channel * stride..][..pixels.len()];
            let channel = outputs.start + channel;
            let at = conv.plane(image, channel) + self.pixels.start;
            conv.finish(InOut::new(sums, pixels), at, conv.summand(image, channel))
        })
    }

    /// The memory that the block writes, and that of what is added to it.
    fn outputs_ahead(&self, conv: &Conv<'_>, to: &Unwritten<'_>) -> Ahead {
        let start = conv.plane(self.image, self.outputs.start) + self.pixels.start;
        let of = |start| Ahead::of(start, conv.area(), self.outputs.len(), self.pixels.len());
        let written = of(to.as_ptr().cast());
        conv.epilogue.residual.map_or(written, |residual| written.then(of(residual[start..].as_ptr())))
    }

    /// The pixels that are packed after those of `chunk`: of the next channels, or of the next block, which this thread
    /// takes next unless another has. Each channel lies in a place of its own, where no processor would expect it.
    fn pixels_after(&self, conv: &Conv<'_>, chunk: usize, chunks: usize) -> Ahead {
        let ConvShape { kernel, stride, padding, .. } = conv.shape;
        let (x, taps) = (conv.x, kernel[0] * kernel[1]);
        let last = chunk + 1 == chunks;
        let depths = share(x.channels() * taps, chunks, if last { 0 } else { chunk + 1 });
        let channels = depths.start / taps..depths.end.div_ceil(taps);
        let first = if last { self.pixels.end } else { self.pixels.start };
        let end = (first + self.pixels.len()).min(conv.area());
        let pixels = if conv.shape == ConvShape::pointwise(conv.shape.outputs) {
            first..end
        } else {
            let line = |pixel: usize| (pixel / conv.width * stride).saturating_sub(padding.top);
            line(first) * x.width()..(line(end) + kernel[0]).min(x.height()) * x.width()
        };
        if pixels.is_empty() || channels.is_empty() {
            return Ahead::NOTHING;
        }
        let plane = x.plane(self.image, channels.start);
        Ahead::of(plane[pixels.start..].as_ptr(), x.area(), channels.len(), pixels.len())
    }

    /// Copies what the taps `depths` see from each pixel to panels `[depths][16]`, the last one filled up with zeros.
    fn pack(&self, conv: &Conv<'_>, depths: Range<usize>, packed: &mut [f32]) {
        let [kernel_height, kernel_width] = conv.shape.kernel;
        let panel_stride = depths.len() * PANEL;
        if conv.shape == ConvShape::pointwise(conv.shape.outputs) {
            for (p, channel) in depths.enumerate() {
                copy_row(&conv.x.plane(self.image, channel)[self.pixels.clone()], packed, p, panel_stride);
            }
            return;
        }
        let mut line = [0.0; TASK_PIXELS];
        for (p, depth) in depths.enumerate() {
            let (channel, tap) =
                (depth / (kernel_height * kernel_width), depth % (kernel_height * kernel_width));
            let plane = conv.x.plane(self.image, channel);
            self.view(conv, plane, [tap / kernel_width, tap % kernel_width], &mut line);
            for (panel, values) in
                line[..self.pixels.len().next_multiple_of(PANEL)].chunks_exact(PANEL).enumerate()
            {
                let at = panel * panel_stride + p * PANEL;
                packed[at..at + PANEL].copy_from_slice(values);
            }
        }
    }

    /// Writes to `line` what the tap at `[row, column]` of the kernel sees of `plane` from each pixel of the block.
    fn view(&self, conv: &Conv<'_>, plane: &[f32], [row, column]: [usize; 2], line: &mut [f32; TASK_PIXELS]) {
        let ConvShape { stride, padding, .. } = conv.shape;
        let (height, width) = (conv.x.height(), conv.x.width());
        let mut done = 0;
        while done < self.pixels.len() {
            let pixel = self.pixels.start + done;
            let (y, x) = (pixel / conv.width, pixel % conv.width);
            let run = (conv.width - x).min(self.pixels.len() - done);
            let line = &mut line[done..done + run];
            done += run;
            let Some(y) = (y * stride + row).checked_sub(padding.top).filter(|&y| y < height) else {
                line.fill(0.0);
                continue;
            };
            let source = &plane[y * width..(y + 1) * width];
            // The windows of this run whose column lies inside the input.
            let first = (padding.left.saturating_sub(column)).div_ceil(stride).clamp(x, x + run) - x;
            let last =
                (width + padding.left).saturating_sub(column).div_ceil(stride).clamp(x + first, x + run) - x;
            line[..first].fill(0.0);
            line[last..].fill(0.0);
            if first == last {
                continue;
            }
            let start = (x + first) * stride + column - padding.left;
            if stride == 1 {
                line[first..last].copy_from_slice(&source[start..start + last - first]);
            } else {
                let seen = source[start..].iter().step_by(stride);
                line[first..last].iter_mut().zip(seen).for_each(|(to, &from)| *to = from);
            }
        }
    }
}
