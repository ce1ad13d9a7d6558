//! How much a weight on a word makes of it.

use std::error::Error;

use hypersd::{Device, Prompt, Request};
use hypersd_testing::measure::Judge;

use crate::{Options, sheet, ways};

const THINGS: [&str; 12] = [
    "cat",
    "bird",
    "paradise bird",
    "fish",
    "house",
    "tree",
    "boat",
    "cookie",
    "flower",
    "star",
    "mushroom",
    "balloon",
];
const COLOURS: [&str; 9] = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white"];
const WEIGHTS: [f32; 7] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0];

/// Draws every thing in every colour in one step with the LoRA, at each weight of the colour and of the thing, and prints
/// the table.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let judge = Judge::open(options.fixtures.join("judge.safetensors"), device)?;
    let pipeline = options.open()?.lora(options.lora(), 1.0)?.load(device)?;
    let asked: Vec<_> = THINGS.into_iter().flat_map(|thing| COLOURS.map(|colour| (thing, colour))).collect();
    println!(
        "\n| {} prompts, LoRA, 1 step | the colour weighs so: right colour | right thing | the thing weighs so: right \
         colour | right thing |\n|{}",
        asked.len(),
        "---|".repeat(5)
    );
    for weight in WEIGHTS {
        let mut cells = Vec::new();
        for of_colour in [true, false] {
            let (mut pictures, mut colours, mut things) = (Vec::new(), 0, 0);
            for (&(thing, colour), seed) in asked.iter().zip(0..).take(options.count) {
                let (thing_, colour_) = match of_colour {
                    true => (thing.to_string(), format!("({colour}:{weight})")),
                    false => (format!("({thing}:{weight})"), colour.to_string()),
                };
                let prompt = Prompt::weighted(format!("a {colour_} {thing_} in the meadow by day"));
                let drawn = pipeline.generate(&Request { prompt, seed, ..ways::unified(1) })?;
                let seen = judge.verdict(drawn[0].rgb8());
                colours += usize::from(seen.colour == colour);
                things += usize::from(seen.thing == thing);
                pictures.extend(drawn);
            }
            let share = |number: usize| format!("{:.0} %", 100.0 * number as f64 / pictures.len() as f64);
            cells.extend([share(colours), share(things)]);
            let word = if of_colour { "colour" } else { "thing" };
            sheet::save(options, &format!("{word} weighs {weight}"), &pictures)?;
        }
        println!("| {weight} | {} |", cells.join(" | "));
    }
    Ok(())
}
