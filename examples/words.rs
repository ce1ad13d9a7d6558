//! What can be done with words, on the demo model: what a prompt's tokens are, weights, and prompts that are encoded once
//! and mixed.
//!
//! ```sh
//! cargo run --release --example words
//! ```
//!
//! Two sheets of pictures are written: `words-weights.png`, where the colour's weight grows from 0 to 2 from left to right,
//! and `words-between.png`, which leads from one prompt to another.
#![expect(clippy::print_stdout, reason = "a program talks to its user")]

use hypersd::{Device, Error, Image, Pipeline, Prompt, Recipe, Request};

/// Pictures beside each other, and rows, each of another seed.
const COLUMNS: usize = 5;
const ROWS: u64 = 2;

fn main() -> Result<(), Error> {
    let pipeline =
        Pipeline::open(hypersd_demo::model())?.lora(hypersd_demo::hyper_lora(), 1.0)?.load(&Device::flex())?;

    // The demo's vocabulary is small, and it says which words it does not know.
    for prompt in ["a blue mushroom in the meadow by day", "a red astronaut"] {
        for count in pipeline.tokens(&prompt.into())? {
            println!("{prompt:?}: {count}");
        }
    }

    // Weights, in AUTOMATIC1111's language.
    let weighted =
        |share: f32| Ok(Prompt::weighted(format!("a (yellow:{:.2}) fish in the meadow by day", 2.0 * share)));
    sheet(&pipeline, weighted)?.save("words-weights.png")?;

    // A prompt is encoded once, and drawn as often as one likes; what is between two is a prompt, too.
    let first = pipeline.encode_prompt(&"a red house in the desert by day".into())?;
    let last = pipeline.encode_prompt(&"a green tree in the meadow at night".into())?;
    sheet(&pipeline, |share| Ok(first.lerp(&last, share)?.into()))?
        .save("words-between.png")
        .map_err(Error::from)
}

/// The pictures of prompts that depend on a share, which grows from 0 to 1 from left to right.
fn sheet(pipeline: &Pipeline, prompt: impl Fn(f32) -> Result<Prompt, Error>) -> Result<Image, Error> {
    let (mut rgb8, mut size) = (Vec::new(), [0, 0]);
    for seed in 0..ROWS {
        let mut row = Vec::new();
        for column in 0..COLUMNS {
            let prompt = prompt(column as f32 / (COLUMNS - 1) as f32)?;
            row.extend(pipeline.generate(&Request { seed, ..Recipe::HYPER_SD15_UNIFIED.request(prompt) })?);
        }
        size = [row[0].width(), row[0].height()];
        for y in 0..size[1] {
            row.iter()
                .for_each(|image| rgb8.extend_from_slice(&image.rgb8()[y * 3 * size[0]..][..3 * size[0]]));
        }
    }
    Ok(Image::from_rgb8(COLUMNS * size[0], ROWS as usize * size[1], rgb8)?)
}
