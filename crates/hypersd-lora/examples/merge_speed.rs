//! Times the merge of a LoRA of Hyper-SD's size into weights of full size: `cargo run --release -p hypersd-lora
//! --example merge_speed -- --model sd15` (278 modules, 3 GB) or `sdxl` (788 modules, 10 GB).
//!
//! | option | |
//! |---|---|
//! | `--part I/N` | only every Nth module, from the one numbered I on: 1/N of the memory |
//! | `--half` | the base is stored in F16 |
//! | `--fresh` | each merged weight gets memory of its own, as one that becomes a parameter as it is |
//! | `--serve` | each line of standard input asks for one merge and is answered with its seconds |
//!
//! Without `--fresh` the merged weights of all rounds take turns in one piece of memory, as those of a load do that the
//! loader brings into another order or type. `reference/bench_lora.py` runs this beside PEFT.

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

use half::f16;
use hypersd_core::{HostData, HostTensor, MemorySource, TensorSource};
use hypersd_lora::{Base, Lora, LoraFile, Merged, Strictness, merge};

const RANK: usize = 64;
/// The linears and convolutions of a UNet that Hyper-SD's files leave as they are.
const LEFT_OUT: [&str; 4] = ["conv_in", "conv_out", "time_embedding", "add_embedding"];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::new(env::args().skip(1))?;
    let (merged, report) = layered(&options)?;
    let mut scratch = Vec::new();
    let mut seconds = || seconds(&merged, (!options.fresh).then_some(&mut scratch));
    if options.serve {
        for _ in stdin().lines() {
            println!("{}", seconds()?);
            stdout().flush()?;
        }
        return Ok(());
    }
    println!("{report}");
    let mut rounds = (0..5).map(|_| seconds()).collect::<Result<Vec<_>, _>>()?;
    rounds.sort_by(f64::total_cmp);
    println!("median {:.3} s, least {:.3} s", rounds[2], rounds[0]);
    Ok(())
}

struct Options {
    model: String,
    part: (usize, usize),
    half: bool,
    fresh: bool,
    serve: bool,
}

impl Options {
    fn new(mut given: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options =
            Self { model: "sd15".into(), part: (0, 1), half: false, fresh: false, serve: false };
        while let Some(option) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("a value after {option}"));
            match option.as_str() {
                "--model" => options.model = value()?,
                "--part" => {
                    let part = value()?;
                    let (part, of) = part.split_once('/').ok_or("--part I/N")?;
                    options.part = (part.parse()?, of.parse()?);
                }
                "--half" => options.half = true,
                "--fresh" => options.fresh = true,
                "--serve" => options.serve = true,
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        Ok(options)
    }
}

/// Reads every merged weight, as a loader does, and lets it go.
fn seconds(merged: &Merged, mut scratch: Option<&mut Vec<f32>>) -> Result<f64, hypersd_core::Error> {
    let start = Instant::now();
    for name in merged.touched() {
        let tensor = match &mut scratch {
            Some(scratch) => merged.tensor_in(name, scratch)?,
            None => merged.tensor(name)?,
        };
        assert!(!tensor.data.is_empty());
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Weights of a UNet's shapes with a file over them.
fn layered(options: &Options) -> Result<(Arc<Merged>, String), Box<dyn Error>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{}.tsv", options.model));
    let list = fs::read_to_string(list)?;
    let adapted = list.lines().filter(|line| !LEFT_OUT.iter().any(|part| line.starts_with(part)));
    let (mut base, mut file) = (Vec::new(), Vec::new());
    for line in adapted.skip(options.part.0).step_by(options.part.1) {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(name), Some(shape), Some(module)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(format!("{line:?} is no name, shape and module").into());
        };
        let shape = shape.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let kernel = shape.len().saturating_sub(2);
        file.push((
            format!("{module}.lora_up.weight"),
            filled([vec![shape[0], RANK], vec![1; kernel]].concat()),
        ));
        file.push((format!("{module}.lora_down.weight"), filled([&[RANK], &shape[1..]].concat())));
        file.push((format!("{module}.alpha"), HostTensor::from_f32([], vec![RANK as f32])));
        base.push((name, if options.half { halves(shape) } else { filled(shape) }));
    }
    let base: MemorySource = base.into_iter().collect();
    let file: MemorySource = file.into_iter().collect();
    let lora = Lora { file: Arc::new(LoraFile::from_source(Arc::new(file))?), weight: 1.0 };
    let unet = Base { prefix: "lora_unet_", family: None, source: Arc::new(base) };
    let mut merged = merge(&[unet], &[lora], Strictness::Strict)?;
    Ok((merged.sources.remove(0), merged.reports[0].to_string()))
}

fn filled(shape: Vec<usize>) -> HostTensor<'static> {
    let elements = shape.iter().product();
    HostTensor::from_f32(shape, vec![0.01; elements])
}

fn halves(shape: Vec<usize>) -> HostTensor<'static> {
    let elements = vec![f16::from_f32(0.01); shape.iter().product()];
    HostTensor { shape, data: HostData::F16(elements.into()) }
}
