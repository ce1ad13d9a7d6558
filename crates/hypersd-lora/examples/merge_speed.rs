//! Times the merge of a LoRA of Hyper-SD's size into weights of full size: `cargo run --release -p hypersd-lora
//! --example merge_speed -- sd15` (278 modules, 3 GB) or `sdxl` (788 modules, 10 GB).
//!
//! `reference/bench_lora.py` runs it beside PEFT: with `--serve` each line of standard input asks for one merge, which
//! is answered with its seconds.

#![expect(clippy::print_stdout, reason = "examples print")]

use std::{
    env,
    error::Error,
    fs,
    io::{Write, stdin, stdout},
    path::Path,
    sync::Arc,
    time::Instant,
};

use hypersd_core::{HostTensor, MemorySource, TensorSource};
use hypersd_lora::{Base, Lora, LoraFile, Merged, Strictness, merge};

const RANK: usize = 64;
/// The linears and convolutions of a UNet that Hyper-SD's files leave as they are.
const LEFT_OUT: [&str; 4] = ["conv_in", "conv_out", "time_embedding", "add_embedding"];

fn main() -> Result<(), Box<dyn Error>> {
    let options: Vec<String> = env::args().skip(1).collect();
    let model = options.iter().find(|option| !option.starts_with('-')).map_or("sd15", String::as_str);
    let (merged, report) = layered(model)?;
    if options.iter().any(|option| option == "--serve") {
        for _ in stdin().lines() {
            println!("{}", seconds(&merged)?);
            stdout().flush()?;
        }
        return Ok(());
    }
    println!("{report}");
    let mut rounds = (0..5).map(|_| seconds(&merged)).collect::<Result<Vec<_>, _>>()?;
    rounds.sort_by(f64::total_cmp);
    println!("median {:.3} s, least {:.3} s", rounds[2], rounds[0]);
    Ok(())
}

/// Reads every merged weight, as a loader does, and lets it go.
fn seconds(merged: &Merged) -> Result<f64, hypersd_core::Error> {
    let start = Instant::now();
    for name in merged.touched() {
        let tensor = merged.tensor(name)?;
        assert!(!tensor.data.is_empty());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Weights of a UNet's shapes with a file over them.
fn layered(model: &str) -> Result<(Arc<Merged>, String), Box<dyn Error>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{model}.tsv"));
    let (mut base, mut file) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(list)?.lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(name), Some(shape), Some(module)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!("{line:?} is no name, shape and module").into());
        };
        if LEFT_OUT.iter().any(|part| name.starts_with(part)) {
            continue;
        }
        let shape = shape.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let kernel = shape.len().saturating_sub(2);
        file.push((
            format!("{module}.lora_up.weight"),
            filled([vec![shape[0], RANK], vec![1; kernel]].concat()),
        ));
        file.push((format!("{module}.lora_down.weight"), filled([&[RANK], &shape[1..]].concat())));
        file.push((format!("{module}.alpha"), HostTensor::from_f32([], vec![RANK as f32])));
        base.push((name, filled(shape)));
    }
    let base: MemorySource = base.into_iter().collect();
    let file: MemorySource = file.into_iter().collect();
    let lora = Lora { file: Arc::new(LoraFile::from_source(Arc::new(file))?), weight: 1.0 };
    let unet = Base { prefix: "lora_unet_", source: Arc::new(base) };
    let mut merged = merge(&[unet], &[lora], Strictness::Strict)?;
    Ok((merged.sources.remove(0), merged.reports[0].to_string()))
}

fn filled(shape: Vec<usize>) -> HostTensor<'static> {
    let elements = shape.iter().product();
    HostTensor::from_f32(shape, vec![0.01; elements])
}
