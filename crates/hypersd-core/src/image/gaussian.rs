//! Pillow's `ImageFilter.GaussianBlur` for 8-bit images (`BoxBlur.c`), bit for bit: three box blurs along the rows, then
//! three along the columns, each rounded to 8 bits. A box has a fractional radius: its two outermost samples count in part
//! ([Gwosdek et al.](https://www.mia.uni-saarland.de/Publications/gwosdek-ssvm11.pdf)).

use rayon::prelude::*;

use super::CHANNELS;

const PASSES: u32 = 3;
/// Fraction bits of a weight.
const PRECISION: u32 = 24;

/// Blurs `width` columns of pixels by a radius above 0.
pub(super) fn blur(pixels: &[u8], width: usize, radius: f32) -> Vec<u8> {
    let height = pixels.len() / (width * CHANNELS);
    let box_ = Box::of(radius);
    let rows = box_.rows(pixels.to_vec(), width);
    let columns = box_.rows(transpose(&rows, width, height), height);
    transpose(&columns, height, width)
}

/// A box of `radius` whole samples on each side, which weigh `inner` each, and one more on each side, of weight `outer`.
#[derive(Debug, Clone, Copy)]
struct Box {
    radius: usize,
    inner: u32,
    outer: u32,
}

impl Box {
    /// The box that, applied three times, has the variance of a Gaussian, in the f32 of the original.
    fn of(gaussian_radius: f32) -> Self {
        let sigma2 = gaussian_radius * gaussian_radius / PASSES as f32;
        let length = (12.0 * f64::from(sigma2) + 1.0).sqrt() as f32;
        let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
        let fraction = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * sigma2)
            / (6.0 * (sigma2 - (whole + 1.0) * (whole + 1.0)));
        let radius = whole + fraction;
        let whole = radius as u32;
        let one = 1_u32 << PRECISION;
        let inner = (one as f32 / (radius * 2.0 + 1.0)) as u32;
        Self { radius: whole as usize, inner, outer: (one - (whole * 2 + 1) * inner) / 2 }
    }

    /// All passes over every row of `width` pixels.
    fn rows(self, mut pixels: Vec<u8>, width: usize) -> Vec<u8> {
        pixels.par_chunks_exact_mut(width * CHANNELS).for_each(|row| {
            let mut line = vec![0; width];
            let mut out = vec![0; width];
            for channel in 0..CHANNELS {
                let samples = row.iter().skip(channel).step_by(CHANNELS);
                line.iter_mut().zip(samples).for_each(|(line, sample)| *line = *sample);
                for _ in 0..PASSES {
                    self.pass(&line, &mut out);
                    line.copy_from_slice(&out);
                }
                let samples = row.iter_mut().skip(channel).step_by(CHANNELS);
                samples.zip(&line).for_each(|(sample, line)| *sample = *line);
            }
        });
        pixels
    }

    /// One pass: the samples beyond the ends are those at the ends.
    fn pass(self, line: &[u8], out: &mut [u8]) {
        let last = line.len() - 1;
        let at = |i: isize| u32::from(line[i.clamp(0, last as isize) as usize]);
        let radius = self.radius as isize;
        let mut sum: u32 = (-radius..=radius).map(at).sum();
        for (x, out) in (0..).zip(out) {
            let outside = at(x - radius - 1) + at(x + radius + 1);
            let weighted = sum.wrapping_mul(self.inner).wrapping_add(outside.wrapping_mul(self.outer));
            *out = (weighted.wrapping_add(1 << (PRECISION - 1)) >> PRECISION) as u8;
            sum = sum + at(x + radius + 1) - at(x - radius);
        }
    }
}

/// `[height][width]` → `[width][height]`
pub(super) fn transpose(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len());
    for x in 0..width {
        for y in 0..height {
            out.extend_from_slice(&pixels[(y * width + x) * CHANNELS..][..CHANNELS]);
        }
    }
    out
}
