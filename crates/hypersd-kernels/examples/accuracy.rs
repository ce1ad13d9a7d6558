//! The relative L2 error of the kernels against f64, over a sample of their outputs: `cargo run --release -p
//! hypersd-kernels --example accuracy`, or `… -- avx2` for another instruction set than the best.
//! `reference/kernel_accuracy.py` is the same for PyTorch, on the same inputs.

#![expect(clippy::print_stdout, reason = "examples print")]

use hypersd_kernels::{
    AttentionShape, ConvShape, Epilogue, HeadLayout, InstructionSet, LinearShape, Planes, Weights, attention,
    conv2d, conv2d_doubled, linear, use_instruction_set,
};

/// Outputs that are compared.
const SAMPLE: usize = 512;

/// The `i`-th of the numbers that `seed` names, in [-1, 1).
fn number(i: usize, seed: u32) -> f32 {
    let mut x = (i as u32 ^ seed).wrapping_mul(0x9e37_79b1);
    x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae3d);
    ((x ^ (x >> 16)) >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len).map(|i| number(i, seed << 28)).collect()
}

/// Like what a SiLU leaves: cut off below.
fn activations(len: usize, seed: u32) -> Vec<f32> {
    numbers(len, seed).into_iter().map(|x| x.max(-0.25)).collect()
}

/// Prints the error of `got` at sampled places, of which `exact` gives the values.
fn report(name: &str, got: &[f32], exact: impl Fn(usize) -> f64) {
    let (mut difference, mut size) = (0.0, 0.0);
    for i in 0..SAMPLE {
        let at = (i * 2_654_435_761) % got.len();
        let exact = exact(at);
        difference += (f64::from(got[at]) - exact).powi(2);
        size += exact * exact;
    }
    println!("{name:32} {:.2e}", (difference / size).sqrt());
}

fn dot(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
}

fn main() {
    if std::env::args().nth(1).is_some_and(|set| set == "avx2") {
        assert!(use_instruction_set(InstructionSet::Avx2), "this processor has no AVX2");
    }
    let mut out = Vec::new();
    for (rows, inputs, outputs) in [(4096, 320, 320), (1024, 2560, 640), (256, 5120, 1280), (77, 768, 768)] {
        let (x, w) = (activations(rows * inputs, 1), numbers(inputs * outputs, 2));
        linear(&x, Weights::F32(&w), None, None, LinearShape { rows, inputs, outputs }, &mut out);
        report(&format!("linear {rows}x{inputs}x{outputs}"), &out, |at| {
            let (row, column) = (at / outputs, at % outputs);
            dot((0..inputs).map(|k| (x[row * inputs + k], w[k * outputs + column])))
        });
    }
    for (inputs, outputs, side) in [
        (320, 320, 64),
        (640, 640, 32),
        (1280, 1280, 16),
        (2560, 1280, 8),
        (512, 512, 64),
        (128, 128, 128),
        (64, 64, 128),
    ] {
        let (x, w) = (activations(inputs * side * side, 1), numbers(inputs * outputs * 9, 2));
        let planes = Planes::new(&x, [1, inputs, side, side]);
        conv2d(planes, Weights::F32(&w), ConvShape::same3x3(outputs), Epilogue::default(), &mut out);
        report(&format!("conv3x3 {inputs}->{outputs}@{side}"), &out, |at| {
            let (channel, row, column) = (at / (side * side), at / side % side, at % side);
            let taps = (0..inputs * 9).filter_map(|k| {
                let (y, x_) = ((row + k / 3 % 3).checked_sub(1)?, (column + k % 3).checked_sub(1)?);
                (y < side && x_ < side)
                    .then(|| (x[(k / 9 * side + y) * side + x_], w[channel * inputs * 9 + k]))
            });
            dot(taps)
        });
    }
    for (channels, side) in [(512, 64), (256, 128)] {
        let (x, w) = (activations(channels * side * side, 1), numbers(channels * channels * 9, 2));
        let planes = Planes::new(&x, [1, channels, side, side]);
        conv2d_doubled(planes, Weights::F32(&w), channels, Epilogue::default(), &mut out);
        report(&format!("doubled, conv3x3 {channels}@{side}"), &out, |at| {
            let large = 2 * side;
            let (channel, row, column) = (at / (large * large), at / large % large, at % large);
            let taps = (0..channels * 9).filter_map(|k| {
                let (y, x_) = ((row + k / 3 % 3).checked_sub(1)?, (column + k % 3).checked_sub(1)?);
                (y < large && x_ < large)
                    .then(|| (x[(k / 9 * side + y / 2) * side + x_ / 2], w[channel * channels * 9 + k]))
            });
            dot(taps)
        });
    }
    for (heads, queries, keys, width) in [(8, 4096, 4096, 40), (10, 1024, 1024, 64), (8, 1024, 77, 80)] {
        let [q, k, v] =
            [(queries, 1), (keys, 2), (keys, 3)].map(|(n, seed)| numbers(heads * n * width, seed));
        let scale = 1.0 / (width as f32).sqrt();
        let layout = HeadLayout::TokenMajor;
        let shape = AttentionShape { batch: 1, heads, queries, keys, width, layout, scale, causal: false };
        attention(&q, &k, &v, shape, &mut out);
        report(&format!("attention {heads}x{queries}x{keys}x{width}"), &out, |at| {
            let (query, head, i) = (at / (heads * width), at / width % heads, at % width);
            let row = |values: &[f32], token: usize, i: usize| values[(token * heads + head) * width + i];
            let (mut top, mut bottom) = (0.0, 0.0);
            for key in 0..keys {
                let score =
                    dot((0..width).map(|i| (row(&q, query, i), row(&k, key, i)))) / (width as f64).sqrt();
                top += score.exp() * f64::from(row(&v, key, i));
                bottom += score.exp();
            }
            top / bottom
        });
    }
}
