//! A picture that becomes another one: the frame before is the start of the next, one step each.
//!
//! ```sh
//! cargo run --release --example image_to_image
//! cargo run --release --example image_to_image -- stable-diffusion-v1-5 Hyper-SD15-1step-lora.safetensors photo.png \
//!     "a watercolour of a bird"
//! ```
//!
//! Without arguments it draws a mushroom with the tiny model of `hypersd-demo` and starts from that. Writes `start.png` and
//! `frame-0.png` to `frame-3.png`.

use hypersd::{Device, Error, Image, Location, Pipeline, Recipe, Request, Start, StartStrength};

const FRAMES: u64 = 4;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, lora, photo, prompt): (Location, Location, _, _) = match arguments.as_slice() {
        [] => (hypersd_demo::model(), hypersd_demo::hyper_lora(), None, "a blue boat at the beach at sunset"),
        [model, lora, photo, prompt] => (model.into(), lora.into(), Some(photo), prompt.as_str()),
        _ => panic!("expected no arguments, or a model, a LoRA, a picture and a prompt"),
    };
    let pipeline = Pipeline::open(model)?.lora(lora, 1.0)?.load(&Device::flex())?;

    // The unified LoRA draws in one step, from pure noise or from any share of it.
    let request = Recipe::HYPER_SD15_UNIFIED.request(prompt);
    let mut frame = match photo {
        Some(photo) => Image::open(photo)?,
        None => only(pipeline.generate(&Recipe::HYPER_SD15_UNIFIED.request(hypersd_demo::PROMPT))?),
    };
    frame.save("start.png")?;
    for seed in 0..FRAMES {
        // A strength takes the last of several steps; a noise level starts all of them, here one, from so much noise.
        let start = Start::picture(frame, StartStrength::Level(0.5));
        frame = only(pipeline.generate(&Request { start, seed, ..request.clone() })?);
        frame.save(format!("frame-{seed}.png"))?;
    }
    Ok(())
}

/// The picture of a batch of one.
fn only(images: Vec<Image>) -> Image {
    images.into_iter().next().expect("a batch has at least one picture")
}
