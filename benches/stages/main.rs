//! Full-size SD1.5 or SDXL, stage by stage, beside other programs in the same run.
//!
//! ```sh
//! .venv/bin/python reference/full_size.py --out full
//! cargo bench --bench stages -- --model full/stable-diffusion-v1-5 \
//!     --lora full/Hyper-SD15-1step-lora.safetensors --taesd full/taesd --controlnet full/controlnet-sd15 \
//!     --peer diffusers=".venv/bin/python reference/bench_diffusers.py"
//! ```
//!
//! For each stage every program is started afresh, so that it loads only what the stage needs, runs it once untimed, and
//! then they take turns (A B C A B C …): whatever else the machine does meets them all. Times are medians; memory is the
//! most that each process had in use. hypersd is one of the programs (`--serve`, in `worker.rs`); what a program must
//! understand is in `peer.rs`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod networks;
mod peer;
mod table;
mod turns;
mod worker;

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use hypersd::{Device, FloatDType, Products};
use hypersd_models::multiplies;
use hypersd_testing::{device_named, dtype_named};

use peer::Peer;
use table::Table;

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    task: Task,
    /// A program to run beside hypersd, as NAME=COMMAND; may be given several times
    #[arg(long = "peer")]
    peers: Vec<Peer>,
    /// Leaves hypersd out
    #[arg(long)]
    only_peers: bool,
    /// Which stages, `four` and `swap` too: by default all others that there are files for
    #[arg(long, value_delimiter = ',', default_values = ["load", "text", "unet", "control", "vae", "taesd", "image"])]
    stages: Vec<String>,
    /// How often each stage is timed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A program whose untimed run of a stage takes more seconds than this is timed once
    #[arg(long, default_value_t = 20.0)]
    limit: f64,
    /// Starts every program anew for each turn: for networks that do not fit into memory side by side
    #[arg(long)]
    apart: bool,
    /// Answers the names of stages on standard input with seconds, as the programs beside it do
    #[arg(long, hide = true)]
    serve: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every program is told: the files, and what to do with them.
#[derive(Debug, Args)]
struct Task {
    /// A folder with full-size SD1.5 or SDXL (`reference/full_size.py` writes them)
    #[arg(long)]
    model: PathBuf,
    /// A LoRA for it, merged in the stages `load`, `image` and `four`, and merged again in `swap`
    #[arg(long)]
    lora: Option<PathBuf>,
    /// A folder with TAESD, for the stages `taesd` and `live`
    #[arg(long)]
    taesd: Option<PathBuf>,
    /// A folder with a ControlNet, for the stage `control`: one step with it
    #[arg(long)]
    controlnet: Option<PathBuf>,
    /// Width and height in pixels
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// Rows that a network is given at once. With 2, `image` is one picture with guidance
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    batch: u8,
    /// What weights are stored in, and products computed in where a program can; q8 is int8 and what the program does
    /// beside it
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// A folder that each program writes what it made last to, as f32: STAGE.PROGRAM.DTYPE, for `reference/bench_error.py`
    #[arg(long)]
    save: Option<PathBuf>,
    /// Where to compute, if not on the CPU: cuda, vulkan, wgpu or metal, built with that feature of hypersd-testing. A
    /// program that does not know the option is left out
    #[arg(long)]
    device: Option<String>,
    /// Threads of each program
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
    Q8,
}

impl Dtype {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
        }
    }

    /// What UNets and ControlNets multiply on the CPU.
    fn products(self) -> Products {
        match self {
            Self::F32 | Self::F16 => Products::F32,
            Self::Bf16 => Products::Bf16,
            Self::Q8 => Products::Int8,
        }
    }

    /// What text encoders and VAEs are kept in: beside int8, what the pipeline has them in.
    fn beside(self, device: &Device) -> Self {
        match self {
            Self::Q8 if multiplies(Products::Bf16, device) => Self::Bf16,
            Self::Q8 => Self::F32,
            other => other,
        }
    }
}

impl From<Dtype> for FloatDType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Q8 => Self::F32,
            float => dtype_named(float.name()),
        }
    }
}

impl Task {
    fn batch(&self) -> usize {
        self.batch.into()
    }

    fn device(&self) -> Device {
        device_named(self.device_name())
    }

    fn device_name(&self) -> &str {
        self.device.as_deref().unwrap_or("flex")
    }

    /// Whether there are files for a stage.
    fn covers(&self, stage: &str) -> bool {
        match stage {
            "taesd" | "live" => self.taesd.is_some(),
            "control" => self.controlnet.is_some(),
            "swap" => self.lora.is_some(),
            _ => true,
        }
    }

    /// These options again, as the programs take them.
    fn arguments(&self) -> Vec<String> {
        let path = |path: &PathBuf| path.display().to_string();
        let options = [
            ("--model", Some(path(&self.model))),
            ("--lora", self.lora.as_ref().map(path)),
            ("--taesd", self.taesd.as_ref().map(path)),
            ("--controlnet", self.controlnet.as_ref().map(path)),
            ("--size", Some(self.size.to_string())),
            ("--batch", Some(self.batch.to_string())),
            ("--dtype", Some(self.dtype.name().into())),
            ("--threads", Some(self.threads.to_string())),
            ("--device", self.device.clone()),
            ("--save", self.save.as_ref().map(path)),
        ];
        let given = options.into_iter().filter_map(|(option, value)| Some([option.into(), value?]));
        given.flatten().collect()
    }
}

fn main() {
    let options = Options::parse();
    if options.serve {
        return worker::serve(&options.task);
    }
    let mut peers = options.peers.clone();
    if !options.only_peers {
        peers.insert(0, Peer::hypersd());
    }
    let mut seconds = Table::new(&peers, "s");
    let mut memory = Table::new(&peers, "GB");
    for stage in options.stages.iter().filter(|stage| options.task.covers(stage)) {
        let measured = turns::measure(&peers, stage, &options);
        let column = |figure: fn(&turns::Figures) -> table::Cell| {
            measured.iter().map(|figures| figures.as_ref().map(figure)).collect()
        };
        seconds.row(stage, column(turns::Figures::seconds));
        memory.row(stage, column(turns::Figures::gigabytes));
    }
    let Task { model, size, batch, dtype, threads, .. } = &options.task;
    let device = options.task.device.as_ref().map_or_else(String::new, |device| format!(" on {device}"));
    println!(
        "{}, {size}x{size}, batch {batch}, {}{device}, {threads} threads\n",
        model.display(),
        dtype.name()
    );
    println!("{seconds}\nPeak memory of each process{device}:\n\n{memory}");
}
