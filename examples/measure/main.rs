//! Measures the demo model: is what captions ask for in its pictures, both things of pairs, what short prompts ask for,
//! what do weights make of words, and do pictures follow edges?
//!
//! ```sh
//! cargo run --release --example measure
//! ```
//!
//! The captions were held out from training. A small network that knows drawings alone says what it sees; Canny finds
//! the pictures' edges. Tables go to standard output, in Markdown.
#![expect(clippy::print_stdout, reason = "a program talks to its user")]

mod captions;
mod edges;
mod pairs;
mod prompts;
mod sheet;
mod ways;
mod weights;

use std::{error::Error, path::PathBuf};

use clap::{Parser, ValueEnum};
use hypersd::{Device, FloatDType, Location, Pipeline, PipelineBuilder, Products};

/// Measures how much of what is asked for is in the demo model's pictures.
#[derive(Debug, Parser)]
struct Options {
    /// A folder with captions.json, pairs.json, judge.safetensors, edges.json and edges/
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/demo"))]
    fixtures: PathBuf,
    /// Measures one of the five
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Takes the first N captions, pairs and edge maps
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    count: usize,
    /// Leaves out the ways of drawing whose names do not begin so: "LoRA", "LoRA, 1 step"
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    ways: String,
    /// Guidance scale of the base model, where it has more than one step
    #[arg(long, value_name = "X", default_value_t = 5.0)]
    base_guidance: f64,
    /// Writes a sheet of all pictures for each row of the tables
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Type of the weights and of the arithmetic, as `generate` has it
    #[arg(long, value_enum, default_value_t = DtypeName::F32)]
    dtype: DtypeName,
    /// Another model than the embedded one
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Another LoRA
    #[arg(long, value_name = "FILE")]
    lora: Option<PathBuf>,
    /// Another ControlNet
    #[arg(long, value_name = "DIR")]
    controlnet: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    Captions,
    Pairs,
    Prompts,
    Weights,
    Edges,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum DtypeName {
    F32,
    F16,
    Bf16,
    Q8,
}

/// Prints a part's tables.
type Measure = fn(&Options, &Device) -> Result<(), Box<dyn Error>>;

const PARTS: [(Part, Measure); 5] = [
    (Part::Captions, captions::measure),
    (Part::Pairs, pairs::measure),
    (Part::Prompts, prompts::measure),
    (Part::Weights, weights::measure),
    (Part::Edges, edges::measure),
];

impl Options {
    /// The model, in the type that was asked for.
    fn open(&self) -> Result<PipelineBuilder, hypersd::Error> {
        let builder = Pipeline::open(self.model())?;
        Ok(match self.dtype {
            DtypeName::F32 => builder,
            DtypeName::F16 => builder.dtype(FloatDType::F16),
            DtypeName::Bf16 => builder.dtype(FloatDType::BF16),
            DtypeName::Q8 => builder.products(Products::Int8),
        })
    }

    fn model(&self) -> Location {
        self.model.as_ref().map_or_else(hypersd_demo::model, Location::from)
    }

    fn lora(&self) -> Location {
        self.lora.as_ref().map_or_else(hypersd_demo::hyper_lora, Location::from)
    }

    fn controlnet(&self) -> Location {
        self.controlnet.as_ref().map_or_else(hypersd_demo::controlnet, Location::from)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let device = Device::flex();
    for (part, measure) in PARTS {
        if options.only.is_none_or(|only| only == part) {
            measure(&options, &device)?;
        }
    }
    Ok(())
}
