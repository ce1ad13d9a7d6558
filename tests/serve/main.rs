//! The `serve` example as its clients meet it: `cargo test` builds the examples, so the program is there.
//!
//! What it draws is compared with what the library draws of the same request in this program.

#[path = "../../examples/serve/frame.rs"]
mod frame;
#[path = "../../examples/serve/queue.rs"]
mod queue;

mod a1111;
mod client;
mod docs;
mod fair;
mod guard;
mod hostile;
mod jobs;
mod limits;
mod live;
mod openai;
mod page;

use std::sync::LazyLock;

use hypersd::{Control, Image, Pipeline, Recipe, Request};
use hypersd_testing::{device, dtype};

/// A prompt that the demo was made for.
const PROMPT: &str = hypersd_demo::PROMPT;

/// What the server draws with, when nothing says otherwise.
static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let builder = Pipeline::open(hypersd_demo::model()).expect("the model").dtype(dtype());
    let builder = builder.lora(hypersd_demo::hyper_lora(), 1.0).expect("the LoRA");
    builder.controlnet(hypersd_demo::controlnet()).expect("the ControlNet").load(&device()).expect("loaded")
});

/// What the library draws, with a ControlNet that has no say.
fn drawn(request: Request) -> Image {
    let mut silent = Control::new(Image::from_rgb8(8, 8, vec![0; 192]).expect("a picture"));
    silent.strength.scale = 0.0;
    let nothing_shown = request.controls.is_empty() && request.start.images().is_empty();
    let controls = if request.controls.is_empty() { vec![silent] } else { request.controls.clone() };
    // The demo's own size, which a picture without a say does not say.
    let side = |side: Option<usize>| side.or(nothing_shown.then_some(128));
    let (width, height) = (side(request.width), side(request.height));
    let images = PIPELINE.generate(&Request { controls, width, height, ..request });
    images.expect("a picture").swap_remove(0)
}

/// One step by the server's recipe.
fn recipe(prompt: &str, seed: u64) -> Request {
    Request { seed, ..Recipe::HYPER_SD15_UNIFIED.request(prompt) }
}

/// A square on black.
fn square(side: usize) -> Image {
    let inside = |i: usize| (side / 4..side * 3 / 4).contains(&i);
    let white = |i: usize| inside(i % side) && inside(i / side);
    let bytes = (0..side * side).flat_map(|i| [if white(i) { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(side, side, bytes).expect("a picture")
}
