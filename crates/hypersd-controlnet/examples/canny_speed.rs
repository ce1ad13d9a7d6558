//! What Canny takes on one thread at 1024x1024, in milliseconds, the best and the median of 25: the images and the
//! layout of `reference/bench_canny.py`, which measures OpenCV.
//!
//! ```sh
//! cargo run --release -p hypersd-controlnet --example canny_speed
//! ```

#![expect(clippy::print_stdout, reason = "examples print")]

use std::time::Instant;

use hypersd_controlnet::Canny;
use hypersd_core::{Image, ImageError};

const SIDE: usize = 1024;
const RUNS: usize = 25;

/// Of each pixel.
type Rgb = [u8; 3];

fn main() -> Result<(), ImageError> {
    let (noise, discs) = (noise(), discs());
    let textured = textured(&discs, &noise);
    println!("hypersd, 1 thread, {SIDE}x{SIDE}, ms");
    for (name, pixels) in [("noise", noise), ("smooth", smooth()), ("discs", discs), ("textured", textured)] {
        let gray: Vec<u8> = pixels.iter().map(|pixel| pixel[1]).collect();
        let image = Image::from_rgb8(SIDE, SIDE, pixels.into_flattened())?;
        for l2_gradient in [false, true] {
            let canny = Canny { l2_gradient, ..Canny::default() };
            let norm = if l2_gradient { "L2" } else { "L1" };
            time(&format!("{name:8} rgb  {norm}"), || Ok(canny.edges(&image)?.rgb8().to_vec()))?;
            time(&format!("{name:8} gray {norm}"), || canny.edges_of_gray(&gray, SIDE, SIDE))?;
        }
    }
    Ok(())
}

/// Prints the times of a call, and the share of edges in what it gives.
fn time(name: &str, mut edges: impl FnMut() -> Result<Vec<u8>, ImageError>) -> Result<(), ImageError> {
    let mut times = Vec::new();
    let mut found = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        found = edges()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let share = found.iter().filter(|&&edge| edge > 0).count() as f64 / found.len() as f64;
    println!("{name}  best {:6.2}  median {:6.2}  edges {share:.4}", times[0], times[RUNS / 2]);
    Ok(())
}

/// A linear congruential generator (Knuth's constants), its top byte.
fn noise() -> Vec<Rgb> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..SIDE * SIDE).map(|_| [next(), next(), next()]).collect()
}

/// x and y of every pixel.
fn grid() -> impl Iterator<Item = (usize, usize)> {
    (0..SIDE * SIDE).map(|i| (i % SIDE, i / SIDE))
}

/// A ramp without edges.
fn smooth() -> Vec<Rgb> {
    grid().map(|(x, y)| [0, 1, 2].map(|c| (x / 8 + c * y / 16) as u8)).collect()
}

/// Discs of many sizes on a ramp: long edges, as in a photograph of things.
fn discs() -> Vec<Rgb> {
    let ramp = |(x, y): (usize, usize)| [x / 16 + 60, y / 16 + 70, (x + y) / 32 + 80].map(|c| c as u8);
    let mut pixels: Vec<Rgb> = grid().map(ramp).collect();
    for i in 0..60 {
        let (center_x, center_y, radius) = (i * 389 % SIDE, i * 571 % SIDE, 10 + i * 37 % 90);
        let color = [53, 97, 151].map(|step| (i * step % 256) as u8);
        for ((x, y), pixel) in grid().zip(&mut pixels) {
            if x.abs_diff(center_x).pow(2) + y.abs_diff(center_y).pow(2) < radius * radius {
                *pixel = color;
            }
        }
    }
    pixels
}

/// The discs under noise, as in a photograph taken in the dark.
fn textured(discs: &[Rgb], noise: &[Rgb]) -> Vec<Rgb> {
    let add = |x: u8, n: u8| (i32::from(x) + i32::from(n) / 8 - 16).clamp(0, 255) as u8;
    let pixels = discs.iter().zip(noise);
    pixels.map(|(pixel, noise)| [0, 1, 2].map(|c| add(pixel[c], noise[c]))).collect()
}
