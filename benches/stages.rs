//! Full-size SD1.5 or SDXL, stage by stage, beside diffusers in the same run.
//!
//! ```sh
//! .venv/bin/python reference/full_size.py --out full
//! RAYON_NUM_THREADS=2 cargo bench --bench stages -- --model full/stable-diffusion-v1-5 \
//!     --lora full/Hyper-SD15-1step-lora.safetensors --taesd full/taesd --controlnet full/controlnet-sd15 \
//!     --python .venv/bin/python
//! ```
//!
//! The two programs take turns (A B A B …) on the same stage, so that whatever else the machine does meets both, and
//! the medians are compared. Peak memory is that of a fresh process each, which loads, merges the LoRA and draws one
//! picture, and of another one that only loads. Without `--python` only hypersd is timed: both at once need 32 GB for SDXL.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use clap::Parser;
use hypersd::{Algorithm, Control, Device, Image, Pipeline, Request, Steps, Tensor, device};
use hypersd_testing::{device_named, dtype_named};
use serde::Deserialize;

#[derive(Debug, Parser)]
struct Options {
    /// A folder with full-size SD1.5 or SDXL (`reference/full_size.py` writes them)
    #[arg(long)]
    model: PathBuf,
    /// A LoRA for it
    #[arg(long)]
    lora: PathBuf,
    /// A folder with TAESD, for the stage `taesd`
    #[arg(long)]
    taesd: Option<PathBuf>,
    /// A folder with a ControlNet, for the stage `control`: one step with it
    #[arg(long)]
    controlnet: Option<PathBuf>,
    /// A Python with reference/requirements.txt installed; left out: diffusers is not timed
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where to compute, and diffusers too: flex, or cuda, vulkan and others with that feature of hypersd-testing
    #[arg(long, default_value = "flex")]
    device: String,
    /// What to compute in, and diffusers too: f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Has diffusers compile its networks
    #[arg(long)]
    torch_compile: bool,
    /// How often each stage is timed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Which stages: by default all but `four` (steps) and `swap` that there are files for, and the peak memory
    #[arg(long, value_delimiter = ',', default_values = ["memory", "load", "text", "unet", "vae", "image", "taesd", "control"])]
    stages: Vec<String>,
    /// Width and height in pixels
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// Loads, draws one picture unless `load` is the only stage, prints the peak memory in bytes, and ends
    #[arg(long)]
    once: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// The files and the size, as both programs take them.
    fn files(&self) -> Vec<String> {
        let files = [
            ("--model", Some(&self.model)),
            ("--lora", Some(&self.lora)),
            ("--taesd", self.taesd.as_ref()),
            ("--controlnet", self.controlnet.as_ref()),
        ];
        let given =
            files.into_iter().filter_map(|(option, path)| Some((option, path?.display().to_string())));
        let common =
            [("--size", &self.size.to_string()), ("--device", &self.device), ("--dtype", &self.dtype)]
                .map(|(option, value)| (option, value.clone()));
        given.chain(common).flat_map(|(option, value)| [option.into(), value]).collect()
    }
}

fn main() {
    let options = Options::parse();
    if options.once {
        let ours = ours(&options);
        let pipeline = ours.load(With::Nothing);
        if options.stages != ["load"] {
            pipeline.generate(&ours.request(With::Nothing)).expect("a picture");
        }
        println!("{}", device::memory(&ours.device).map_or_else(peak_memory, |memory| memory.peak));
        return;
    }
    println!("| stage | hypersd | diffusers | diffusers / hypersd |\n|---|---|---|---|");
    let (memory_too, stages) = stages(&options);
    if memory_too {
        memory(&options);
    }
    if !stages.is_empty() {
        timings(&options, &stages);
    }
}

/// Whether the peak memory is asked for, and the stages that there are files for.
fn stages(options: &Options) -> (bool, Vec<&str>) {
    let missing = |stage: &str| match stage {
        "taesd" => options.taesd.is_none(),
        "control" => options.controlnet.is_none(),
        _ => false,
    };
    let (memory, stages): (Vec<_>, Vec<_>) =
        options.stages.iter().map(String::as_str).partition(|&stage| stage == "memory");
    (!memory.is_empty(), stages.into_iter().filter(|&stage| !missing(stage)).collect())
}

/// A line of the table for every stage.
fn timings(options: &Options, stages: &[&str]) {
    let mut theirs = options.python.as_ref().map(|python| Diffusers::start(python, options));
    let mut ours = ours(options);
    for stage in stages {
        ours.prepare(stage);
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            seconds[0].push(ours.time(stage));
            if let Some(theirs) = &mut theirs {
                seconds[1].push(theirs.time(stage));
            }
        }
        let [ours, theirs] = seconds.map(median);
        row(stage, ours.expect("at least one round"), theirs, "s");
    }
}

/// The lines of the table that fresh processes answer.
fn memory(options: &Options) {
    peak(options, "peak memory", "image", "load,lora,image");
    peak(options, "peak memory of loading", "load", "load,lora");
}

/// One of them, and which stages it takes in the two programs.
fn peak(options: &Options, name: &str, ours: &str, theirs: &str) {
    let files = options.files();
    let program = std::env::current_exe().expect("this program");
    let ours = run(Command::new(program).args(["--once", "--stages", ours]).args(&files));
    let ours = ours.trim().parse::<f64>().expect("bytes");
    let theirs = options.python.as_ref().map(|python| {
        let script = ["reference/bench_diffusers.py", "--only", theirs];
        let lines = run(Command::new(python).args(script).args(&files));
        let answer: Answer = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
        answer.bytes.expect("bytes")
    });
    let gigabytes = 1e-9;
    row(name, ours * gigabytes, theirs.map(|bytes| bytes * gigabytes), "GB");
}

fn row(stage: &str, ours: f64, theirs: Option<f64>, unit: &str) {
    let cell = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    let figure = theirs.map(|theirs| format!("{theirs:.2} {unit}"));
    let ratio = theirs.map(|theirs| format!("{:.2}", theirs / ours));
    println!("| {stage} | {ours:.2} {unit} | {} | {} |", cell(figure), cell(ratio));
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

fn run(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The most memory that this process has had in use, in bytes, with the touched pages of mapped files.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}

/// What a pipeline is loaded with, beside the model and the LoRA.
#[derive(Debug, Clone, Copy, PartialEq)]
enum With {
    Nothing,
    Taesd,
    ControlNet,
}

impl With {
    fn of(stage: &str) -> Self {
        match stage {
            "taesd" => Self::Taesd,
            "control" => Self::ControlNet,
            _ => Self::Nothing,
        }
    }
}

/// hypersd's side. There is one pipeline at a time: the last that a stage needed.
struct Ours<'a> {
    options: &'a Options,
    device: Device,
    pipeline: Option<(With, Pipeline)>,
    latents: Option<Tensor<4>>,
}

fn ours(options: &Options) -> Ours<'_> {
    Ours { options, device: device_named(&options.device), pipeline: None, latents: None }
}

impl Ours<'_> {
    /// What a stage needs, and one untimed run of it where that is how it is met in practice.
    fn prepare(&mut self, stage: &str) {
        if stage == "load" {
            return;
        }
        let with = With::of(stage);
        if self.pipeline.as_ref().is_none_or(|(loaded, _)| *loaded != with) {
            self.pipeline = None; // before the next is loaded
            self.pipeline = Some((with, self.load(with)));
        }
        if self.latents.is_none() {
            self.latents = Some(self.pipeline().latents(&self.request(with)).expect("latents"));
        }
        if stage != "image" {
            self.time(stage);
        }
    }

    fn time(&mut self, stage: &str) -> f64 {
        let with = With::of(stage);
        if stage == "load" {
            self.pipeline = None;
            let start = Instant::now();
            self.pipeline = Some((with, self.load(with)));
            self.wait();
            return start.elapsed().as_secs_f64();
        }
        if stage == "swap" {
            let (_, pipeline) = self.pipeline.as_mut().expect("a prepared stage");
            let start = Instant::now();
            pipeline.set_loras(&[(&self.options.lora, 1.0)]).expect("the LoRA");
            self.wait();
            return start.elapsed().as_secs_f64();
        }
        let (pipeline, mut request) = (self.pipeline(), self.request(with));
        if stage == "four" {
            request.steps = Steps::Count(4);
        }
        let latents = self.latents.clone().expect("a prepared stage");
        let step = matches!(stage, "unet" | "control");
        let mut steps = step.then(|| pipeline.denoise(&request).expect("a request"));
        let start = Instant::now();
        match stage {
            "text" => drop(pipeline.denoise(&request).expect("a request")), // encodes; no step is asked for
            "unet" | "control" => {
                drop(steps.as_mut().and_then(Iterator::next).expect("one step").expect("one step"))
            }
            "vae" | "taesd" => drop(pipeline.decode(latents).expect("pixels")),
            "image" | "four" => drop(pipeline.generate(&request).expect("a picture")),
            other => panic!("no stage {other}"),
        }
        self.wait();
        start.elapsed().as_secs_f64()
    }

    /// Until the device has done what it was told to.
    fn wait(&self) {
        self.device.sync().expect("a device that works");
    }

    fn pipeline(&self) -> &Pipeline {
        &self.pipeline.as_ref().expect("a prepared stage").1
    }

    fn load(&self, with: With) -> Pipeline {
        let Options { model, lora, taesd, controlnet, .. } = self.options;
        let builder = Pipeline::open(model).expect("the model").lora(lora, 1.0).expect("the LoRA");
        let builder = match with {
            With::Nothing => Ok(builder),
            With::Taesd => builder.vae(taesd.as_ref().expect("--taesd")),
            With::ControlNet => builder.controlnet(controlnet.as_ref().expect("--controlnet")),
        };
        let dtype = dtype_named(&self.options.dtype);
        builder.and_then(|builder| builder.dtype(dtype).load(&self.device)).expect("the pipeline")
    }

    fn request(&self, with: With) -> Request {
        let side = self.options.size;
        let controls = match with {
            With::ControlNet => vec![Control::new(stripes(side))],
            With::Nothing | With::Taesd => Vec::new(),
        };
        Request {
            prompt: "a photo of a cat sitting on a windowsill, golden hour".into(),
            scheduler: Some(Algorithm::Tcd),
            steps: Steps::Count(1),
            eta: Some(1.0),
            width: Some(side),
            height: Some(side),
            controls,
            ..Request::default()
        }
    }
}

/// A picture for a ControlNet, which takes as long whatever it is shown.
fn stripes(side: usize) -> Image {
    let pixels = (0..side * side).flat_map(|i| [if i % 16 == 0 { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(side, side, pixels).expect("three bytes for each pixel")
}

/// diffusers' side: a process that answers stage names with seconds.
struct Diffusers {
    process: Child,
    stages: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    seconds: Option<f64>,
    bytes: Option<f64>,
}

impl Diffusers {
    fn start(python: &PathBuf, options: &Options) -> Self {
        let mut process = Command::new(python)
            .args(["reference/bench_diffusers.py", "--serve"])
            .args(options.torch_compile.then_some("--compile"))
            .args(options.files())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", python.display()));
        let stages = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut theirs = Self { process, stages, answers };
        theirs.answer(); // which stages it has
        theirs
    }

    /// Seconds of one run. diffusers maps its files, so that reading is part of merging: the two count together.
    fn time(&mut self, stage: &str) -> f64 {
        let parts: &[&str] = if stage == "load" { &["load", "lora"] } else { &[stage] };
        parts.iter().map(|part| self.ask(part)).sum()
    }

    fn ask(&mut self, stage: &str) -> f64 {
        writeln!(self.stages, "{stage}").expect("the process reads");
        self.answer().seconds.unwrap_or_else(|| panic!("diffusers has no stage {stage}"))
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the process answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }
}

impl Drop for Diffusers {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("diffusers could not be ended: {error}");
        }
    }
}
