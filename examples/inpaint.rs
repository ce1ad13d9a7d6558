//! A part of a picture, painted anew: what is white in the mask becomes what the prompt says, and the rest stays.
//!
//! ```sh
//! cargo run --release --example inpaint
//! cargo run --release --example inpaint -- stable-diffusion-v1-5 Hyper-SD15-1step-lora.safetensors photo.png mask.png \
//!     "a red armchair"
//! ```
//!
//! Without arguments it draws a mushroom with the tiny model of `hypersd-demo`, masks it, and has a boat painted there; then it
//! adds a strip on the right, and paints that. Writes `start.png`, `mask.png`, `painted.png` and `extended.png`.

use hypersd::{
    Border, Device, Error, Image, Location, Mask, Pipeline, Recipe, Request, Start, StartStrength, Steps,
};

/// Sides of the demo's picture, and of what is painted in the middle of it.
const SIDE: usize = 128;
const PAINTED: usize = 96;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, lora, files, prompt): (Location, Location, _, _) = match arguments.as_slice() {
        [] => (hypersd_demo::model(), hypersd_demo::hyper_lora(), None, "a blue boat in the meadow by day"),
        [model, lora, photo, mask, prompt] => {
            (model.into(), lora.into(), Some((photo, mask)), prompt.as_str())
        }
        _ => panic!("expected no arguments, or a model, a LoRA, a picture, a mask and a prompt"),
    };
    let pipeline = Pipeline::open(model)?.lora(lora, 1.0)?.load(&Device::flex())?;

    let (picture, mask) = match files {
        Some((photo, mask)) => (Image::open(photo)?, Image::open(mask)?),
        None => {
            (only(pipeline.generate(&Recipe::HYPER_SD15_UNIFIED.request(hypersd_demo::PROMPT))?), middle()?)
        }
    };
    picture.save("start.png")?;
    mask.save("mask.png")?;

    // A plain UNet paints: after every step the rest is put back, with as much noise as there is then. Two steps see it once.
    let request = Request { steps: Steps::Count(2), ..Recipe::HYPER_SD15_UNIFIED.request(prompt) };
    let paint = |picture, mask| {
        let start = Start::Masked { images: vec![picture], mask, strength: StartStrength::Share(1.0) };
        pipeline.generate(&Request { start, ..request.clone() }).map(only)
    };
    let painted = paint(picture, Mask::new(mask))?;
    painted.save("painted.png")?;

    // Outpainting is a larger picture with a mask over what is new.
    let (extended, mask) = Border { right: 64, ..Border::default() }.extend(&painted, None)?;
    paint(extended, Mask::new(mask))?.save("extended.png")?;
    Ok(())
}

/// White in the middle of black.
fn middle() -> Result<Image, Error> {
    let edge = (SIDE - PAINTED) / 2;
    let white = |i: usize| (edge..SIDE - edge).contains(&i);
    let byte = |i: usize| if white(i % SIDE) && white(i / SIDE) { 255 } else { 0 };
    Ok(Image::from_rgb8(SIDE, SIDE, (0..SIDE * SIDE).flat_map(|i| [byte(i); 3]).collect())?)
}

/// The picture of a batch of one.
fn only(images: Vec<Image>) -> Image {
    images.into_iter().next().expect("a batch has at least one picture")
}
