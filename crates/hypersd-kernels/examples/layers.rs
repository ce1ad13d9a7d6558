//! Times every layer of the networks in `reference/layers.txt`, and the layers of each network together:
//! `cargo run --release -p hypersd-kernels --example layers [sd15|sdxl|vae|taesd|clip [kind [f32|bf16|int8 [avx2|avxvnni]]]]`.
//!
//! The third are the numbers that are multiplied, where there are such products: elsewhere f32. The fourth takes an instruction
//! set for the best.
//!
//! `reference/bench_layers.py` does the same with PyTorch. Weights change from call to call, as in a network, and so
//! come from memory; outputs are fresh.

#![expect(clippy::print_stdout, reason = "examples print")]

use std::{collections::BTreeMap, env, hint::black_box, time::Instant};

use half::bf16;
use hypersd_kernels::{
    Activation, Affine, AttentionShape, ConvShape, Epilogue, HeadLayout, InstructionSet, LayerWeights,
    LinearShape, PANEL, Padding, Planes, Weights, attention, attention_bf16, conv2d, group_norm, int8_panels,
    int8_rows, layer_norm, linear, use_instruction_set,
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

/// Calls with weights of their own before they come again.
const COPIES: usize = 6;

/// The weights of a layer, of several calls one after the other: those of a network are far from the caches too.
enum Layers {
    F32,
    Bf16(Vec<Vec<bf16>>),
    Int8(Vec<Vec<u32>>),
}

impl Layers {
    fn new(numbers: &str, shape: [usize; 3], dense: bool) -> Self {
        let [outputs, inputs, taps] = shape;
        let depth = inputs * taps;
        let copies = COPIES.min((WEIGHTS / (outputs * depth)).max(1));
        let read = |output: usize, row: &mut [f32]| {
            row.iter_mut()
                .enumerate()
                .for_each(|(i, x)| *x = ((output * 7919 + i * 31) % 1009) as f32 / 504.5 - 1.0);
        };
        let int8 = || if dense { int8_panels([outputs, inputs], read) } else { int8_rows(shape, read) };
        match numbers {
            "bf16" if outputs.is_multiple_of(PANEL) && (dense || inputs.is_multiple_of(2)) => {
                let values = values(outputs * depth).into_iter().map(bf16::from_f32).collect();
                Self::Bf16(vec![values; copies])
            }
            "int8" if outputs.is_multiple_of(PANEL) => Self::Int8(vec![int8(); copies]),
            _ => Self::F32,
        }
    }

    fn get<'a>(&'a self, call: usize, f32s: &'a [f32]) -> LayerWeights<'a> {
        match self {
            Self::F32 => LayerWeights::Plain(Weights::F32(f32s)),
            Self::Bf16(copies) => LayerWeights::Bf16(&copies[call % copies.len()]),
            Self::Int8(copies) => LayerWeights::Int8(&copies[call % copies.len()]),
        }
    }
}

/// Milliseconds and 10^9 operations of a layer.
fn measure(kind: &str, sizes: [usize; 6], pool: &mut Pool, numbers: &str) -> (f64, f64) {
    let mut call = 0;
    let [a, b, c, d, e, _] = sizes;
    match kind {
        "linear" => {
            let (x, shape) = (values(a * b), LinearShape { rows: a, inputs: b, outputs: c });
            let layers = Layers::new(numbers, [c, b, 1], true);
            let ms = time(|| {
                let (w, bias) = pool.take(b * c + c).split_at(b * c);
                let mut out = Vec::new();
                linear(black_box(&x), layers.get(call, w), Some(bias), None, shape, &mut out);
                call += 1;
                black_box(out);
            });
            (ms, 2e-9 * (a * b * c) as f64)
        }
        "conv" => {
            let x = values(a * c * c);
            let padding = if d == 3 { Padding::all(1) } else { Padding::default() };
            let shape = ConvShape { outputs: b, kernel: [d, d], stride: e, padding };
            let layers = Layers::new(numbers, [b, a, d * d], false);
            let ms = time(|| {
                let (w, bias) = pool.take(a * b * d * d + b).split_at(a * b * d * d);
                let epilogue = Epilogue { bias: Some(bias), ..Epilogue::default() };
                let mut out = Vec::new();
                let x = Planes::new(black_box(&x), [1, a, c, c]);
                conv2d(x, layers.get(call, w), shape, epilogue, &mut out);
                call += 1;
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
                let compute = if numbers == "f32" { attention } else { attention_bf16 };
                compute(black_box(&q), &kv, &kv, shape, &mut out);
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
    match env::args().nth(4).as_deref() {
        None => {}
        Some("avx2") => assert!(use_instruction_set(InstructionSet::Avx2), "AVX2 is not here"),
        Some("avxvnni") => assert!(use_instruction_set(InstructionSet::AvxVnni), "AVX-VNNI is not here"),
        Some(other) => panic!("no instruction set {other}"),
    }
    let multiplied = env::args().nth(3).unwrap_or_else(|| "f32".into());
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
        let (ms, gflop) = measure(kind, sizes, &mut pool, &multiplied);
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
