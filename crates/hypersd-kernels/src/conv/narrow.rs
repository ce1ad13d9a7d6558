//! Convolution in int8, of any kernel and stride, and products over channels in bf16.
//!
//! The input becomes planes of words: four (or two) channels of a pixel to a word, with the padding around them. Seen as
//! one line of pixels, row behind row, what a tap of the kernel sees of 16 neighbouring outputs are 16 neighbouring words,
//! wherever they begin; so nothing is copied for the windows. Where a row ends, a few outputs are computed for nothing.
//! With a stride, the pixels that a tap sees lie in a plane of their own, one for each remainder of row and column.

#![expect(unsafe_code, reason = "tasks write disjoint parts of planes of words and of one output")]

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{Conv, ConvShape};
use crate::{
    Activation,
    elementwise::activate_row,
    narrow::{self, Columns, Finish, Int8Row, Range8, Tiles, WordRows, as_words, as_words_mut, rounded},
    output::{Axis, Out, Split, fill_shared, parallel, share, update},
    panel::PANEL,
    scratch::{Scratch, odd_lines},
    simd::{Kernel, Simd, dispatch},
};

/// Pixels of one task: a few of the widest tiles.
const TASK_PIXELS: usize = 16 * PANEL;
/// Bytes of the weights of one task, which stay in the second-level cache.
const TASK_WEIGHTS: usize = 1 << 19;

/// Computes a convolution with weights in int8.
pub(super) fn int8(conv: &Conv<'_>, weights: &[u32], out: &mut Vec<f32>) {
    let ConvShape { outputs, kernel: [height, width], .. } = conv.shape;
    let shape = [conv.x.channels(), height * width];
    assert_eq!(
        weights.len(),
        narrow::int8_rows_len([outputs, shape[0], shape[1]]),
        "weights are int8 rows of {:?}",
        conv.shape
    );
    let flat = Flat::new(conv, 4);
    let mut planes = Scratch::take(flat.len());
    let write = |out: Out<'_, MaybeUninit<f32>>| {
        for image in 0..conv.x.batch() {
            let range = range_of(conv, image);
            let nothing = range.zero().cast_unsigned() * 0x0101_0101;
            let write = |pixels: Run<'_>, words: &mut [u32]| dispatch(Bytes { pixels, words, range });
            flat.gather(conv, image, &mut planes, write, nothing);
            flat.run(conv, |block| {
                let (words, stride) = Int8Row::words(weights, block.outputs.start, shape);
                narrow::int8::<true>(Tiles {
                    rows: WordRows::new(words, [block.outputs.len(), flat.depth()], stride),
                    columns: flat.columns(&planes, &block.pixels),
                    finish: Pixels {
                        conv,
                        flat: &flat,
                        image,
                        block,
                        out,
                        sums: Scaled { weights, shape, range },
                    },
                });
            });
        }
    };
    // SAFETY: every image and block of pixels is written.
    unsafe { fill_shared(out, conv.len(), write) };
}

/// Computes a product over the channels of every pixel with weights `[outputs, inputs]` in bf16, of which the inputs are
/// an even number.
pub(super) fn bf16(conv: &Conv<'_>, weights: &[half::bf16], out: &mut Vec<f32>) {
    let flat = Flat::new(conv, 2);
    let mut planes = Scratch::take(flat.len());
    let mut pairs = Scratch::take(weights.len() / 2);
    let split =
        Split::new(1, Axis::whole(1), Axis::new(pairs.len(), 1, pairs.len().div_ceil(TASK_WEIGHTS / 4)));
    update(&mut pairs, split, |block, mut to| {
        for (word, pair) in as_words_mut(to.row(0)).iter_mut().zip(&weights.as_chunks::<2>().0[block.columns])
        {
            *word = u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16;
        }
    });
    let write = |out: Out<'_, MaybeUninit<f32>>| {
        for image in 0..conv.x.batch() {
            flat.gather(conv, image, &mut planes, |pixels, words| dispatch(Halves { pixels, words }), 0);
            flat.run(conv, |block| {
                let depth = flat.depth();
                narrow::bf16(Tiles {
                    rows: WordRows::new(
                        &as_words(&pairs)[block.outputs.start * depth..],
                        [block.outputs.len(), depth],
                        depth,
                    ),
                    columns: flat.columns(&planes, &block.pixels),
                    finish: Pixels { conv, flat: &flat, image, block, out, sums: Whole },
                });
            });
        }
    };
    // SAFETY: every image and block of pixels is written.
    unsafe { fill_shared(out, conv.len(), write) };
}

/// True if [`bf16`] takes the convolution.
pub(super) fn takes_bf16(conv: &Conv<'_>) -> bool {
    conv.shape == ConvShape::pointwise(conv.shape.outputs) && conv.x.channels().is_multiple_of(2)
}

/// The range of all pixels of an image.
fn range_of(conv: &Conv<'_>, image: usize) -> Range8 {
    let ends =
        (0..conv.x.channels()).into_par_iter().map(|channel| dispatch(Ends(conv.x.plane(image, channel))));
    // The order does not matter to the least and the greatest.
    let (least, greatest, finite) = ends.reduce(
        || (0.0, 0.0, true),
        |(a, b, c), (least, greatest, finite)| (least.min(a), greatest.max(b), finite && c),
    );
    Range8::of(least, greatest, finite)
}

struct Ends<'a>(&'a [f32]);

impl Kernel for Ends<'_> {
    type Output = (f32, f32, bool);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f32, bool) {
        narrow::ends(simd, self.0)
    }
}

/// The planes of an image as lines of words.
struct Flat {
    /// Numbers in a word: channels of a plane.
    numbers: usize,
    /// Planes.
    planes: usize,
    /// Words from plane to plane.
    stride: usize,
    /// Words of a row.
    width: usize,
    /// Words of the pixels of one remainder.
    phase: usize,
    /// Where each tap of the kernel sees the first output.
    offsets: Vec<usize>,
    /// From the first output to the last, with what is between the rows.
    pixels: usize,
}

/// The part of an image that one task computes.
struct Block {
    outputs: Range<usize>,
    /// Of the line.
    pixels: Range<usize>,
}

impl Flat {
    fn new(conv: &Conv<'_>, numbers: usize) -> Self {
        let ConvShape { kernel: [kernel_height, kernel_width], stride: step, .. } = conv.shape;
        let width = conv.width + kernel_width.saturating_sub(1) / step;
        let height = conv.height + kernel_height.saturating_sub(1) / step;
        let phase = width * height;
        let taps = (0..kernel_height).flat_map(|y| (0..kernel_width).map(move |x| (y, x)));
        let offset =
            |(y, x): (usize, usize)| (y % step * step + x % step) * phase + y / step * width + x / step;
        Self {
            numbers,
            planes: conv.x.channels().div_ceil(numbers),
            stride: odd_lines(step * step * phase + PANEL),
            width,
            phase,
            offsets: taps.map(offset).collect(),
            pixels: if conv.area() == 0 { 0 } else { (conv.height - 1) * width + conv.width },
        }
    }

    /// Words of an image.
    fn len(&self) -> usize {
        self.planes * self.stride
    }

    /// Words of an output's weights.
    fn depth(&self) -> usize {
        self.offsets.len() * self.planes
    }

    /// What all taps see of some pixels.
    fn columns<'a>(&'a self, planes: &'a [f32], pixels: &Range<usize>) -> Columns<'a> {
        let words = &as_words(planes)[pixels.start.min(planes.len())..];
        let parts = (self.offsets.as_slice(), self.planes);
        Columns::new(words, pixels.len().div_ceil(PANEL), parts, self.stride, PANEL)
    }

    /// Fills the planes with the words of an image: `write` makes those of a run of pixels of the channels of a plane, and
    /// `nothing` stands where there are no pixels.
    fn gather(
        &self,
        conv: &Conv<'_>,
        image: usize,
        planes: &mut [f32],
        write: impl Fn(Run<'_>, &mut [u32]) + Send + Sync,
        nothing: u32,
    ) {
        let ConvShape { stride: step, padding, .. } = conv.shape;
        let (height, width) = (conv.x.height(), conv.x.width());
        let split = Split::new(1, Axis::new(self.planes, 1, self.planes), Axis::whole(self.stride));
        update(planes, split, |block, mut to| {
            for plane in block.rows.clone() {
                let channels = plane * self.numbers..((plane + 1) * self.numbers).min(conv.x.channels());
                let line = as_words_mut(to.row(plane - block.rows.start));
                for (phase, line) in line.chunks_exact_mut(self.phase.max(1)).take(step * step).enumerate() {
                    for (row, line) in line.chunks_exact_mut(self.width).enumerate() {
                        let y = (row * step + phase / step).checked_sub(padding.top).filter(|&y| y < height);
                        let Some(y) = y else {
                            line.fill(nothing);
                            continue;
                        };
                        // The words whose pixels exist.
                        let shift = phase % step;
                        let first = padding.left.saturating_sub(shift).div_ceil(step).min(line.len());
                        let end = (width + padding.left).saturating_sub(shift).div_ceil(step);
                        let end = end.clamp(first, line.len());
                        line[..first].fill(nothing);
                        line[end..].fill(nothing);
                        if first < end {
                            let start = y * width + first * step + shift - padding.left;
                            let run = Run { conv, image, channels: channels.clone(), start, step };
                            write(run, &mut line[first..end]);
                        }
                    }
                }
            }
        });
    }

    /// Runs `task` for all blocks of an image.
    fn run(&self, conv: &Conv<'_>, task: impl Fn(Block) + Send + Sync) {
        let outputs = conv.shape.outputs;
        let groups = self.pixels.div_ceil(PANEL);
        let by_pixels = self.pixels.div_ceil(TASK_PIXELS).max(1);
        let most_outputs = (TASK_WEIGHTS / (4 * self.depth()).max(1)).clamp(24, 320);
        let threads = rayon::current_num_threads();
        let least = outputs.div_ceil(most_outputs).max((2 * threads).div_ceil(by_pixels));
        let by_outputs = least.min(outputs.div_ceil(12)).max(1);
        parallel(by_pixels * by_outputs, |index| {
            let pixels = share(groups, by_pixels, index % by_pixels);
            let outputs = share(outputs, by_outputs, index / by_pixels);
            let pixels = pixels.start * PANEL..(pixels.end * PANEL).min(self.pixels);
            if !pixels.is_empty() && !outputs.is_empty() {
                task(Block { outputs, pixels });
            }
        });
    }
}

/// A run of pixels of the channels of a plane.
struct Run<'a> {
    conv: &'a Conv<'a>,
    image: usize,
    channels: Range<usize>,
    /// The first pixel of an input plane.
    start: usize,
    /// From one pixel to the next.
    step: usize,
}

impl Run<'_> {
    /// The pixels of N channels, of which those that do not exist are not read.
    #[inline(always)]
    fn each<const N: usize>(&self, count: usize) -> [Option<&[f32]>; N] {
        let mut pixels = [None; N];
        for (channel, pixels) in self.channels.clone().zip(&mut pixels) {
            let plane = self.conv.x.plane(self.image, channel);
            *pixels = Some(&plane[self.start..self.start + (count - 1) * self.step + 1]);
        }
        pixels
    }
}

/// Makes words of a run of pixels; `number` gives the bits of a pixel, in the lowest of a word.
#[inline(always)]
fn pack<const N: usize>(pixels: &Run<'_>, words: &mut [u32], number: impl Fn(f32) -> u32, nothing: u32) {
    let bits = const { 32 / N as u32 };
    let mask = const { u32::MAX >> (32 - 32 / N as u32) };
    let all = pixels.each::<N>(words.len());
    words.fill(0);
    for (i, x) in all.into_iter().enumerate() {
        let shift = i as u32 * bits;
        match x {
            Some(x) if pixels.step == 1 => {
                for (word, &x) in words.iter_mut().zip(x) {
                    *word |= (number(x) & mask) << shift;
                }
            }
            Some(x) => {
                for (word, &x) in words.iter_mut().zip(x.iter().step_by(pixels.step)) {
                    *word |= (number(x) & mask) << shift;
                }
            }
            None => words.iter_mut().for_each(|word| *word |= (nothing & mask) << shift),
        }
    }
}

struct Bytes<'a> {
    pixels: Run<'a>,
    words: &'a mut [u32],
    range: Range8,
}

impl Kernel for Bytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let range = self.range;
        pack::<4>(&self.pixels, self.words, |x| range.byte(x), range.zero().cast_unsigned());
    }
}

struct Halves<'a> {
    pixels: Run<'a>,
    words: &'a mut [u32],
}

impl Kernel for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        pack::<2>(&self.pixels, self.words, rounded, 0);
    }
}

/// What a sum is worth.
trait Worth<T>: Copy {
    /// The function of the sums of an output.
    fn of(self, output: usize) -> impl Fn(T) -> f32;
}

/// Sums of bytes.
#[derive(Clone, Copy)]
struct Scaled<'a> {
    weights: &'a [u32],
    shape: [usize; 2],
    range: Range8,
}

impl Worth<i32> for Scaled<'_> {
    #[inline(always)]
    fn of(self, output: usize) -> impl Fn(i32) -> f32 {
        let Int8Row { scale, sum } = Int8Row::new(self.weights, output, self.shape);
        let (scale, nothing) = (self.range.scale * scale, self.range.zero().wrapping_mul(sum));
        move |sum| sum.wrapping_sub(nothing) as f32 * scale
    }
}

/// Sums that are what they are.
#[derive(Clone, Copy)]
struct Whole;

impl Worth<f32> for Whole {
    #[inline(always)]
    fn of(self, _: usize) -> impl Fn(f32) -> f32 {
        |sum| sum
    }
}

/// Writes sums to their pixels, after the epilogue.
struct Pixels<'a, W> {
    conv: &'a Conv<'a>,
    flat: &'a Flat,
    image: usize,
    /// Of which this is the only task.
    block: Block,
    out: Out<'a, MaybeUninit<f32>>,
    sums: W,
}

impl<T: Copy, W: Worth<T>> Finish<T> for Pixels<'_, W> {
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, columns: Range<usize>, sums: &[T]) {
        for (row, sums) in rows.zip(sums.chunks_exact(columns.len())) {
            self.row(row, columns.clone(), sums);
        }
    }
}

impl<W> Pixels<'_, W> {
    /// Writes the sums of an output.
    #[inline(always)]
    fn row<T: Copy>(&self, row: usize, columns: Range<usize>, sums: &[T])
    where
        W: Worth<T>,
    {
        let Self { conv, flat, image, ref block, out, sums: worth } = *self;
        let output = block.outputs.start + row;
        let (worth, summand) = (worth.of(output), conv.summand(image, output));
        let plane = conv.plane(image, output);
        let first = block.pixels.start + columns.start;
        let end = (block.pixels.start + columns.end).min(block.pixels.end);
        let mut pixel = first;
        while pixel < end {
            let (y, x) = (pixel / flat.width, pixel % flat.width);
            let next = (y + 1) * flat.width;
            if x < conv.width {
                let count = (conv.width - x).min(end - pixel);
                let at = plane + y * conv.width + x;
                // SAFETY: these pixels of this channel are this task's.
                let mut to = unsafe { out.rows(at, [1, count], count) };
                let to = to.row(0);
                let sums = &sums[pixel - first..][..count];
                for (to, &sum) in to.iter_mut().zip(sums) {
                    to.write(worth(sum) + summand);
                }
                // SAFETY: they were just written.
                let to = unsafe { to.assume_init_mut() };
                if let Some(residual) = conv.epilogue.residual {
                    to.iter_mut().zip(&residual[at..]).for_each(|(to, residual)| *to += residual);
                }
                if conv.epilogue.activation != Activation::Identity {
                    activate_row(to, conv.epilogue.activation);
                }
            }
            pixel = next;
        }
    }
}
