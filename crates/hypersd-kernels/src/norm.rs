//! Group norm and layer norm.

use crate::{
    Planes,
    elementwise::{Activation, InOut, Map, load, map},
    output::{Axis, Split, fill, update},
    simd::{Kernel, Simd, dispatch},
};

/// Values whose moments are taken at once: short enough for f32 sums, and still in the first-level cache for the second
/// look that the squares need.
const CHUNK: usize = 4096;
/// Values of the rows that one task of a layer norm takes.
const TASK: usize = 1 << 14;

/// The last step of both norms: `x̂ * gamma + beta` of the normalised `x̂ = (x - mean) / sqrt(variance + eps)`.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// One factor per channel.
    pub gamma: &'a [f32],
    /// One summand per channel.
    pub beta: &'a [f32],
    /// Keeps the division finite.
    pub eps: f32,
}

/// Normalises each of `groups` groups of neighbouring channels of each image, scales and shifts each channel, and
/// applies `activation` in the same pass.
///
/// `out [batch, channels, height, width]` is overwritten; its capacity is used again.
///
/// # Panics
/// If `groups` does not divide the channels, or gamma or beta have another length than the channels.
pub fn group_norm(
    x: Planes<'_>,
    groups: usize,
    affine: Affine<'_>,
    activation: Activation,
    out: &mut Vec<f32>,
) {
    check_groups(x.channels(), groups, affine);
    let split = by_groups([x.batch(), x.channels(), x.area()], groups);
    fill(out, split, |block, to| {
        let plane = |channel: usize| x.plane(block.layer, channel);
        let mut moments = Moments::default();
        block.rows.clone().for_each(|channel| moments.add(plane(channel)));
        let normal = moments.mean_and_inverse_deviation(affine.eps);
        to.write(|channel, to| {
            let channel = block.rows.start + channel;
            map(InOut::new(plane(channel), to), Scale::new(normal, affine, channel, activation))
        })
    });
}

/// Does what [`group_norm`] does to `x [batch, channels, area]` in its own memory.
///
/// # Panics
/// As [`group_norm`], or if the shape does not fit `x`.
pub fn group_norm_in_place(
    x: &mut [f32],
    [batch, channels, area]: [usize; 3],
    groups: usize,
    affine: Affine<'_>,
    activation: Activation,
) {
    assert_eq!(x.len(), batch * channels * area, "x is not [{batch}, {channels}, {area}]");
    check_groups(channels, groups, affine);
    update(x, by_groups([batch, channels, area], groups), |block, mut planes| {
        let mut moments = Moments::default();
        (0..planes.rows()).for_each(|channel| moments.add(planes.row(channel)));
        let normal = moments.mean_and_inverse_deviation(affine.eps);
        for (row, channel) in block.rows.enumerate() {
            map(InOut::in_place(planes.row(row)), Scale::new(normal, affine, channel, activation));
        }
    });
}

fn check_groups(channels: usize, groups: usize, affine: Affine<'_>) {
    assert!(groups > 0 && channels.is_multiple_of(groups), "{groups} groups of {channels} channels");
    let Affine { gamma, beta, .. } = affine;
    assert_eq!((gamma.len(), beta.len()), (channels, channels), "gamma and beta are one value per channel");
}

/// One block per image and group: the planes of its channels.
fn by_groups([batch, channels, area]: [usize; 3], groups: usize) -> Split {
    Split::new(batch, Axis::new(channels, channels / groups, groups), Axis::whole(area))
}

/// `activation((x - mean) * scale + shift)`; with the mean inside the shift, a large one would cost digits.
#[derive(Clone, Copy)]
struct Scale {
    mean: f32,
    scale: f32,
    shift: f32,
    activation: Activation,
}

impl Scale {
    /// The map of a channel whose group has this mean and inverse deviation.
    fn new((mean, inverse): (f64, f64), affine: Affine<'_>, channel: usize, activation: Activation) -> Self {
        let scale = (f64::from(affine.gamma[channel]) * inverse) as f32;
        Self { mean: mean as f32, scale, shift: affine.beta[channel], activation }
    }
}

impl Map for Scale {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, _: usize, _: usize) -> S::V {
        let centred = simd.sub(x, simd.splat(self.mean));
        self.activation.apply(simd, simd.mul_add(centred, simd.splat(self.scale), simd.splat(self.shift)))
    }
}

/// Normalises each row of `x [rows, n]`, n being the length of gamma, then scales and shifts each column.
///
/// `out [rows, n]` is overwritten; its capacity is used again.
///
/// # Panics
/// If `x` is not whole rows, or gamma and beta differ in length.
pub fn layer_norm(x: &[f32], affine: Affine<'_>, out: &mut Vec<f32>) {
    let Affine { gamma, beta, eps } = affine;
    let n = gamma.len();
    let rows = x.len().checked_div(n).unwrap_or(0);
    assert_eq!(beta.len(), n, "gamma and beta have one length");
    assert_eq!(x.len(), rows * n, "x is not whole rows of {n}");
    fill(out, Split::by_rows(rows, n, TASK), |block, to| {
        to.write(|row, to| {
            let row = block.rows.start + row;
            let x = &x[row * n..(row + 1) * n];
            let mut moments = Moments::default();
            moments.add(x);
            let (mean, inverse) = moments.mean_and_inverse_deviation(eps);
            map(InOut::new(x, to), Columns { mean: mean as f32, inverse: inverse as f32, gamma, beta })
        })
    });
}

/// `(x - mean) * inverse * gamma + beta`, gamma and beta by column.
#[derive(Clone, Copy)]
struct Columns<'a> {
    mean: f32,
    inverse: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
}

impl Map for Columns<'_> {
    #[inline(always)]
    fn map<S: Simd>(self, simd: S, x: S::V, index: usize, count: usize) -> S::V {
        let gamma = load(simd, &self.gamma[index..index + count]);
        let beta = load(simd, &self.beta[index..index + count]);
        let x = simd.mul(simd.sub(x, simd.splat(self.mean)), simd.splat(self.inverse));
        simd.mul_add(x, gamma, beta)
    }
}

/// Count, mean and sum of squared deviations of the values seen so far.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Takes `values` in, chunk by chunk, each around its own mean (Chan, Golub and LeVeque 1979), so that a large
    /// mean costs no digits of the variance.
    fn add(&mut self, values: &[f32]) {
        for chunk in values.chunks(CHUNK) {
            let count = chunk.len() as f64;
            let mean = f64::from(dispatch(Deviation::<false> { values: chunk, from: 0.0 })) / count;
            let centre = mean as f32;
            let around = f64::from(dispatch(Deviation::<true> { values: chunk, from: centre }));
            // The squares were taken around the rounded mean.
            let squares = around - count * (mean - f64::from(centre)).powi(2);
            let (total, apart) = (self.count + count, mean - self.mean);
            self.squares += squares + apart * apart * self.count * count / total;
            self.mean += apart * count / total;
            self.count = total;
        }
    }

    fn mean_and_inverse_deviation(&self, eps: f32) -> (f64, f64) {
        let variance = if self.count > 0.0 { self.squares / self.count } else { 0.0 };
        // `max` would turn NaN into zero.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        (self.mean, 1.0 / (variance + f64::from(eps)).sqrt())
    }
}

/// The sum of `x - from`, or of its square.
struct Deviation<'a, const SQUARED: bool> {
    values: &'a [f32],
    from: f32,
}

impl<const SQUARED: bool> Kernel for Deviation<'_, SQUARED> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        const WAYS: usize = 4; // independent sums, to hide the latency of an addition
        let from = simd.splat(self.from);
        let mut sums = [simd.splat(0.0); WAYS];
        let mut blocks = self.values.chunks_exact(WAYS * S::LANES);
        for block in &mut blocks {
            for (way, sum) in sums.iter_mut().enumerate() {
                let x = simd.sub(simd.read(&block[way * S::LANES..]), from);
                *sum = if SQUARED { simd.mul_add(x, x, *sum) } else { simd.add(*sum, x) };
            }
        }
        let sum = simd.sum(simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])));
        blocks.remainder().iter().fold(sum, |sum, &x| {
            let x = x - self.from;
            sum + if SQUARED { x * x } else { x }
        })
    }
}
