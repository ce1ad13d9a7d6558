//! Loading holds a model once: the pages of its file are given back as they are read.
//!
//! Alone in its binary, because it looks at the memory of the whole process.
#![cfg(target_os = "linux")]

use std::{fs, io::Write};

use burn::{
    nn::{Linear, LinearConfig},
    tensor::FloatDType,
};
use hypersd_core::{LoadOptions, SafetensorsFile, load, slots};
use hypersd_testing::device;

const LAYERS: usize = 16;
const WIDTH: usize = 2048;
const LAYER_BYTES: usize = 4 * WIDTH * WIDTH;
const MODEL_BYTES: usize = LAYERS * LAYER_BYTES; // 256 MiB

/// The model itself, what is prepared ahead of it, and small change. Holding file and model would be 2.
const MOST: f64 = 1.6;

struct Stack {
    layers: Vec<Linear>,
}

slots!(Stack { layers });

/// The most memory that the process ever had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn peak_memory_stays_near_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let entries: Vec<String> = (0..LAYERS)
        .map(|i| {
            let (from, to) = (i * LAYER_BYTES, (i + 1) * LAYER_BYTES);
            format!(
                r#""layers.{i}.weight":{{"dtype":"F32","shape":[{WIDTH},{WIDTH}],"data_offsets":[{from},{to}]}}"#
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    // Zeros that take no place on the disk, but as much memory as any others once they are mapped and touched.
    file.set_len((8 + header.len() + MODEL_BYTES) as u64).unwrap();

    let device = device();
    let layer = || LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(&device);
    let stack = Stack { layers: (0..LAYERS).map(|_| layer()).collect() };
    let options = LoadOptions { device: device.clone(), dtype: FloatDType::F32, ignore: &[] };
    let source = SafetensorsFile::open(&path).unwrap();

    let before = peak();
    let stack = load(stack, &source, &options).unwrap();
    let ratio = (peak() - before) as f64 / MODEL_BYTES as f64;
    assert!(stack.layers.iter().all(|layer| layer.weight.is_initialized()));
    assert!(ratio < MOST, "peak memory grew by {ratio:.2} times the model");
    assert!(ratio > 0.9, "peak memory grew by {ratio:.2} times the model: nothing was measured");
}
