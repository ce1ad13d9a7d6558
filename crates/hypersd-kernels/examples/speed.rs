//! Times the kernels on shapes of Stable Diffusion 1.5: `cargo run --release -p hypersd-kernels
//! --example speed [name [avx2|portable]]`.
//!
//! When other programs share the machine, set `RAYON_NUM_THREADS=1` and compare CPU time, with the peak of one core.

#![expect(clippy::print_stdout, reason = "examples print")]

use std::{env, fs, hint::black_box, time::Instant};

use hypersd_kernels::{
    Activation, Affine, AttentionShape, ConvShape, Epilogue, HeadLayout, InstructionSet, LinearShape, Planes,
    Weights, attention, conv2d, geglu, group_norm, instruction_set, linear, use_instruction_set,
};

/// Prints the median wall and CPU time of a few calls, and the rate at `gflop` per call.
fn time(name: &str, gflop: f64, mut call: impl FnMut()) {
    if env::args().nth(1).is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    call();
    let mut wall = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..7 {
        let (start, used) = (Instant::now(), cpu_seconds());
        call();
        cpu.push((cpu_seconds() - used) * 1e3);
        wall.push(start.elapsed().as_secs_f64() * 1e3);
    }
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    println!(
        "{name:28} wall {:8.2} ms, cpu {:8.2} ms (least {:8.2}), {:6.1} GFLOP per cpu second",
        wall[3],
        cpu[3],
        cpu[0],
        gflop / cpu[0] * 1e3
    );
}

/// Time that the threads of this process have spent on a processor; 0 where the system does not say it this way.
fn cpu_seconds() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() * 1e-9
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn main() {
    match env::args().nth(2).as_deref() {
        Some("avx2") => assert!(use_instruction_set(InstructionSet::Avx2), "this processor has no AVX2"),
        Some("portable") => assert!(use_instruction_set(InstructionSet::Portable)),
        _ => {}
    }
    println!("{:?}, {} threads", instruction_set(), rayon::current_num_threads());
    let mut out = Vec::new();
    for (rows, inputs, outputs) in [
        (4096, 320, 320),
        (4096, 320, 2560),
        (1024, 2560, 640),
        (256, 1280, 1280),
        (77, 768, 1280),
        (1, 320, 1280),
    ] {
        let (x, w, bias) = (values(rows * inputs), values(inputs * outputs), values(outputs));
        let shape = LinearShape { rows, inputs, outputs };
        let gflop = 2e-9 * (rows * inputs * outputs) as f64;
        time(&format!("linear {rows}x{inputs}x{outputs}"), gflop, || {
            linear(black_box(&x), Weights::F32(&w), Some(&bias), None, shape, &mut out);
        });
    }
    for (inputs, outputs, side) in [
        (320, 320, 64),
        (640, 640, 32),
        (1280, 1280, 16),
        (1280, 1280, 8),
        (2560, 1280, 8),
        (512, 512, 64),
        (256, 256, 256),
        (128, 128, 512),
        (4, 320, 64),
        (320, 4, 64),
        (128, 3, 512),
    ] {
        let (x, w, bias) = (values(inputs * side * side), values(inputs * outputs * 9), values(outputs));
        let gflop = 18e-9 * (inputs * outputs * side * side) as f64;
        time(&format!("conv3x3 {inputs}->{outputs}@{side}"), gflop, || {
            let x = Planes::new(black_box(&x), [1, inputs, side, side]);
            let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            conv2d(x, Weights::F32(&w), ConvShape::same3x3(outputs), epilogue, &mut out);
        });
    }
    for (heads, queries, keys, width) in [
        (8, 4096, 4096, 40),
        (8, 1024, 1024, 80),
        (8, 256, 256, 160),
        (8, 4096, 77, 40),
        (10, 4096, 4096, 64),
        (1, 4096, 4096, 512),
    ] {
        let (q, kv) = (values(heads * queries * width), values(heads * keys * width));
        let scale = 1.0 / (width as f32).sqrt();
        let layout = HeadLayout::TokenMajor;
        let shape = AttentionShape { batch: 1, heads, queries, keys, width, layout, scale, causal: false };
        let gflop = 4e-9 * (heads * queries * keys * width) as f64;
        time(&format!("attention {heads}x{queries}x{keys}x{width}"), gflop, || {
            attention(black_box(&q), &kv, &kv, shape, &mut out);
        });
    }
    for (channels, side) in [(320, 64), (128, 512)] {
        let x = values(channels * side * side);
        let affine = Affine { gamma: &vec![1.0; channels], beta: &vec![0.0; channels], eps: 1e-5 };
        time(&format!("group_norm+silu {channels}@{side}"), 0.0, || {
            let x = Planes::new(black_box(&x), [1, channels, side, side]);
            group_norm(x, 32, affine, Activation::Silu, &mut out);
        });
    }
    let x = values(4096 * 2560);
    time("geglu 4096x1280", 0.0, || geglu(black_box(&x), 1280, &mut out));
}
