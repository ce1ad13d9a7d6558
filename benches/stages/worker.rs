//! hypersd, as the program that is asked (`peer.rs` says how).

use std::{
    fs,
    io::{self, BufRead},
    path::Path,
    time::Instant,
};

use hypersd::{Algorithm, FloatDType, Pipeline, Request, Start, StartStrength, Steps, Tensor, device};

use crate::{
    Task,
    networks::{self, Run},
};

/// Answers until the input ends. What a stage needs is kept until another stage is asked for.
pub(crate) fn serve(task: &Task) {
    let stages =
        ["load", "text", "unet", "control", "vae", "taesd", "encode", "image", "four", "live", "swap"];
    let device = task.device();
    println!("ready {}", stages.into_iter().filter(|stage| task.covers(stage)).collect::<Vec<_>>().join(" "));
    let mut prepared: Option<(String, Run<'_>)> = None;
    for line in io::stdin().lock().lines() {
        let stage = line.expect("text");
        if stage == "memory" {
            println!("{}", device::memory(&device).map_or_else(peak_memory, |memory| memory.peak));
            continue;
        }
        if prepared.as_ref().is_none_or(|(name, _)| *name != stage) {
            drop(prepared.take()); // before the next is loaded
            prepared = Some((stage.clone(), prepare(&stage, task)));
        }
        let (_, run) = prepared.as_mut().expect("just prepared");
        device.sync().expect("a device that works");
        let start = Instant::now();
        let made = run();
        device.sync().expect("a device that works");
        println!("{}", start.elapsed().as_secs_f64());
        if let (Some(folder), Some(made)) = (&task.save, made.downcast_ref::<Tensor<4>>()) {
            save(&folder.join(format!("{stage}.hypersd.{}", task.dtype.name())), made);
        }
        drop(made);
    }
}

/// Writes the numbers of a tensor, in f32.
fn save(path: &Path, x: &Tensor<4>) {
    let numbers: Vec<f32> = x.clone().cast(FloatDType::F32).into_data().try_into_vec_as().expect("f32");
    fs::write(path, numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).expect("a file");
}

fn prepare<'a>(stage: &str, task: &'a Task) -> Run<'a> {
    match stage {
        "load" => Box::new(|| Box::new(load(task))),
        "image" | "four" => {
            let steps = if stage == "four" { 4 } else { 1 };
            let (pipeline, request) = (load(task), request(task, steps));
            Box::new(move || Box::new(pipeline.generate(&request).expect("a picture")))
        }
        "live" => {
            let (pipeline, request) = (live_pipeline(task), live_request(task));
            Box::new(move || Box::new(pipeline.generate(&request).expect("a picture")))
        }
        "swap" => {
            let mut pipeline = load(task);
            let lora = task.lora.as_deref().expect("--lora");
            Box::new(move || {
                pipeline.set_loras(&[(lora, 1.0)]).expect("the LoRA");
                Box::new(())
            })
        }
        "text" => networks::text(task),
        "unet" => networks::unet(task),
        "control" => networks::control(task),
        "vae" => networks::vae(task),
        "taesd" => networks::taesd(task),
        "encode" => networks::encode(task),
        other => panic!("no stage {other}"),
    }
}

/// The whole model with the LoRA merged.
fn load(task: &Task) -> Pipeline {
    let mut builder = Pipeline::open(&*task.model).expect("the model").dtype(task.dtype.into());
    builder = builder.products(task.dtype.products());
    if let Some(lora) = &task.lora {
        builder = builder.lora(&**lora, 1.0).expect("the LoRA");
    }
    builder.load(&task.device()).expect("the pipeline")
}

/// The model with the LoRA, and TAESD both ways.
fn live_pipeline(task: &Task) -> Pipeline {
    let mut builder = Pipeline::open(&*task.model).expect("the model").dtype(task.dtype.into());
    builder = builder.products(task.dtype.products());
    if let Some(lora) = &task.lora {
        builder = builder.lora(&**lora, 1.0).expect("the LoRA");
    }
    let builder = builder.vae(&**task.taesd.as_ref().expect("--taesd")).expect("the TAESD");
    builder.load(&task.device()).expect("the pipeline")
}

/// One step from a picture, half way to noise.
fn live_request(task: &Task) -> Request {
    let start = Start::picture(networks::stripes(task.size), StartStrength::Level(0.5));
    Request { start, ..request(task, 1) }
}

/// TCD steps.
fn request(task: &Task, steps: usize) -> Request {
    Request {
        prompt: "a photo of a cat sitting on a windowsill, golden hour".into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(steps),
        eta: Some(1.0),
        guidance: if task.batch() == 2 { 2.0 } else { 0.0 },
        width: Some(task.size),
        height: Some(task.size),
        ..Request::default()
    }
}

/// The most of the CPU's memory that this process has had in use, in bytes, with the touched pages of mapped files.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}
