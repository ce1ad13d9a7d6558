//! Pillow's Lanczos for 8-bit images (`Resample.c`), bit for bit.
//!
//! The filter is separable: rows first, then columns, each pass rounded to 8 bits, in fixed point with weights
//! that are exact to 2^-22. A pass whose size does not change is left out. (Pillow 13 swaps the passes for some
//! shapes; this is the order of all versions up to 12.3.)

use std::f64::consts::PI;

use rayon::prelude::*;

use super::CHANNELS;

/// Zero crossings on each side of the kernel.
const LOBES: f64 = 3.0;
/// Fraction bits of a weight.
const PRECISION: u32 = 22;

/// Resizes from `from` to `to`, both width and height.
pub(super) fn resize(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let wide = if from.0 == to.0 { pixels.to_vec() } else { resize_rows(pixels, from.0, to.0) };
    if from.1 == to.1 { wide } else { resize_columns(&wide, to.0, from.1, to.1) }
}

/// What one output sample is made of: weights for the input samples from `start` on.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

impl Window {
    /// One window for each of `to` samples that stand for `from` samples.
    fn all(from: usize, to: usize) -> Vec<Self> {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0); // shrinking widens the kernel, so that every input counts
        (0..to).map(|i| Self::new((i as f64 + 0.5) * scale, stretch, from)).collect()
    }

    fn new(center: f64, stretch: f64, from: usize) -> Self {
        let support = LOBES * stretch;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let weights: Vec<f64> =
            (start..end).map(|i| lanczos((i as f64 - center + 0.5) * stretch.recip())).collect();
        let sum: f64 = weights.iter().sum();
        Self { start, weights: weights.iter().map(|w| fixed(w / sum)).collect() }
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION);
    (scaled + 0.5_f64.copysign(scaled)) as i32
}

fn lanczos(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

fn resize_rows(pixels: &[u8], from: usize, to: usize) -> Vec<u8> {
    let windows = Window::all(from, to);
    let rows = pixels.len() / (from * CHANNELS);
    let mut out = vec![0; rows * to * CHANNELS];
    out.par_chunks_exact_mut(to * CHANNELS).zip(pixels.par_chunks_exact(from * CHANNELS)).for_each(
        |(out, row)| {
            let (row, _) = row.as_chunks::<CHANNELS>();
            let (out, _) = out.as_chunks_mut::<CHANNELS>();
            for (out, Window { start, weights }) in out.iter_mut().zip(&windows) {
                let mut sum = [0; CHANNELS];
                for (weight, pixel) in weights.iter().zip(&row[*start..]) {
                    for (sum, &p) in sum.iter_mut().zip(pixel) {
                        *sum += weight * i32::from(p);
                    }
                }
                *out = sum.map(round);
            }
        },
    );
    out
}

fn resize_columns(pixels: &[u8], width: usize, from: usize, to: usize) -> Vec<u8> {
    let windows = Window::all(from, to);
    let row = width * CHANNELS;
    let mut out = vec![0; to * row];
    out.par_chunks_exact_mut(row).zip(&windows).for_each(|(out, Window { start, weights })| {
        let mut sums = vec![0; row];
        for (weight, pixels) in weights.iter().zip(pixels[start * row..].chunks_exact(row)) {
            for (sum, &p) in sums.iter_mut().zip(pixels) {
                *sum += weight * i32::from(p);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = round(sum);
        }
    });
    out
}

/// Fixed point to the nearest byte. The sum stays far from overflow: the weights' magnitudes sum to less than 2.
fn round(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}
