//! Times what a page draws, natively on one thread with AVX2, for docs/performance.md: medians in milliseconds as JSON.
//!
//! ```sh
//! cargo run --release -p hypersd-web --example native
//! ```

#![expect(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::Instant;

use hypersd::{Control, Device, Image, Pipeline, Recipe, Request, Steps, Strength};
use hypersd_kernels::{InstructionSet, instruction_set, use_instruction_set};

const ROUNDS: usize = 15;

fn main() -> Result<(), hypersd::Error> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the only pool");
    use_instruction_set(InstructionSet::Avx2);
    let pipeline = Pipeline::open(hypersd_demo::model())?
        .lora(hypersd_demo::hyper_lora(), 1.0)?
        .controlnet(hypersd_demo::controlnet())?
        .load(&Device::flex())?;
    let request = |steps, scale| Request {
        steps: Steps::Count(steps),
        width: Some(128),
        height: Some(128),
        controls: vec![Control {
            strength: Strength { scale, ..Strength::default() },
            ..Control::new(square())
        }],
        ..Recipe::HYPER_SD15_UNIFIED.request(hypersd_demo::PROMPT)
    };
    let median = |request: &Request| -> Result<f64, hypersd::Error> {
        let mut times = Vec::new();
        for _ in 0..=ROUNDS {
            let began = Instant::now();
            pipeline.generate(request)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.remove(0); // the first touches memory that the others have
        times.sort_by(f64::total_cmp);
        Ok(times[ROUNDS / 2])
    };
    let [step, steps, control] = [request(1, 0.0), request(4, 0.0), request(1, 1.0)];
    println!(
        r#"{{"with": "{:?}", "one step": {:.1}, "four steps": {:.1}, "with ControlNet": {:.1}}}"#,
        instruction_set(),
        median(&step)?,
        median(&steps)?,
        median(&control)?
    );
    Ok(())
}

/// The lines of a square, white on black.
fn square() -> Image {
    let on = |x: usize, y: usize| {
        ((x == 32 || x == 96) && (32..=96).contains(&y)) || ((y == 32 || y == 96) && (32..=96).contains(&x))
    };
    let rgb8 = (0..128 * 128).flat_map(|i| [if on(i % 128, i / 128) { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(128, 128, rgb8).expect("128 by 128")
}
