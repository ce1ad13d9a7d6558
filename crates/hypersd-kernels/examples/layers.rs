//! Times every layer of the networks in `reference/layers.txt`, and the layers of each network together:
//! `cargo run --release -p hypersd-kernels --example layers [sd15|sdxl|vae|taesd|clip [kind]]`.
//!
//! `reference/bench_layers.py` does the same with PyTorch. Weights change from call to call, as in a network, and so
//! come from memory; outputs are fresh.

#![expect(clippy::print_stdout, reason = "examples print")]

use std::{collections::BTreeMap, env, hint::black_box, time::Instant};

use hypersd_kernels::{
    Activation, Affine, AttentionShape, ConvShape, Epilogue, HeadLayout, LinearShape, Padding, Planes,
    Weights, attention, conv2d, group_norm, layer_norm, linear,
};

/// Values that all weights are taken from: 1 GiB, more than any cache.
const WEIGHTS: usize = 1 << 28;
/// Calls, of which the median counts.
const CALLS: usize = 5;

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// Hands out weights, each time others.
struct Pool {
    values: Vec<f32>,
    next: usize,
}

impl Pool {
    fn take(&mut self, len: usize) -> &[f32] {
        if self.next + len > self.values.len() {
            self.next = 0;
        }
        self.next += len;
        &self.values[self.next - len..self.next]
    }
}

/// Median milliseconds.
fn time(mut call: impl FnMut()) -> f64 {
    call();
    let mut times: Vec<_> = (0..CALLS)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[CALLS / 2]
}

/// Milliseconds and 10^9 operations of a layer.
fn measure(kind: &str, sizes: [usize; 6], pool: &mut Pool) -> (f64, f64) {
    let [a, b, c, d, e, _] = sizes;
    match kind {
        "linear" => {
            let (x, shape) = (values(a * b), LinearShape { rows: a, inputs: b, outputs: c });
            let ms = time(|| {
                let (w, bias) = pool.take(b * c + c).split_at(b * c);
                let mut out = Vec::new();
                linear(black_box(&x), Weights::F32(w), Some(bias), None, shape, &mut out);
                black_box(out);
            });
            (ms, 2e-9 * (a * b * c) as f64)
        }
        "conv" => {
            let x = values(a * c * c);
            let padding = if d == 3 { Padding::all(1) } else { Padding::default() };
            let shape = ConvShape { outputs: b, kernel: [d, d], stride: e, padding };
            let ms = time(|| {
                let (w, bias) = pool.take(a * b * d * d + b).split_at(a * b * d * d);
                let epilogue = Epilogue { bias: Some(bias), ..Epilogue::default() };
                let mut out = Vec::new();
                conv2d(Planes::new(black_box(&x), [1, a, c, c]), Weights::F32(w), shape, epilogue, &mut out);
                black_box(out);
            });
            (ms, 2e-9 * (a * b * (c / e) * (c / e) * d * d) as f64)
        }
        "attention" => {
            let (q, kv) = (values(a * b * d), values(a * c * d));
            let scale = 1.0 / (d as f32).sqrt();
            let layout = HeadLayout::TokenMajor;
            let shape = AttentionShape {
                batch: 1,
                heads: a,
                queries: b,
                keys: c,
                width: d,
                layout,
                scale,
                causal: false,
            };
            let ms = time(|| {
                let mut out = Vec::new();
                attention(black_box(&q), &kv, &kv, shape, &mut out);
                black_box(out);
            });
            (ms, 4e-9 * (a * b * c * d) as f64)
        }
        "groupnorm" | "layernorm" => {
            let group = kind == "groupnorm";
            let x = values(a * b);
            let ones = vec![1.0; if group { a } else { b }];
            let affine = Affine { gamma: &ones, beta: &ones, eps: 1e-5 };
            let ms = time(|| {
                let mut out = Vec::new();
                if group {
                    let x = Planes::new(black_box(&x), [1, a, 1, b]);
                    group_norm(x, 32, affine, Activation::Silu, &mut out);
                } else {
                    layer_norm(black_box(&x), affine, &mut out);
                }
                black_box(out);
            });
            (ms, 0.0)
        }
        _ => panic!("unknown kind {kind}"),
    }
}

fn main() {
    let wanted = |i: usize, found: &str| env::args().nth(i).is_none_or(|w| w == "all" || w == found);
    let mut pool = Pool { values: values(WEIGHTS), next: 0 };
    let mut totals = BTreeMap::<String, (f64, f64)>::new();
    for line in include_str!("../../../reference/layers.txt").lines() {
        let mut words = line.split(' ');
        let (Some(network), Some(kind)) = (words.next(), words.next()) else { continue };
        let numbers: Vec<usize> = words.map(|word| word.parse().expect("a number")).collect();
        if !wanted(1, network) || !wanted(2, kind) {
            continue;
        }
        let sizes: [usize; 6] = numbers[..6].try_into().expect("six sizes");
        let count = numbers[6] as f64;
        let (ms, gflop) = measure(kind, sizes, &mut pool);
        println!(
            "{network:5} {kind:9} {:32} {ms:9.3} ms x {count:3} {:7.1} GFLOP/s",
            format!("{sizes:?}"),
            gflop / ms * 1e3
        );
        for name in [format!("{network} {kind}"), format!("{network} all")] {
            let total = totals.entry(name).or_default();
            *total = (total.0 + ms * count, total.1 + gflop * count);
        }
    }
    for (name, (ms, gflop)) in totals {
        println!("TOTAL {name:16} {ms:9.1} ms {:7.1} GFLOP/s", gflop / ms * 1e3);
    }
}
