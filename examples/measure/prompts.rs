//! What short prompts give that many people try first, that leave the time of the day open, or that have unknown words.

use std::error::Error;

use hypersd::{Device, Image};
use hypersd_testing::measure::Judge;

use crate::{Options, captions::draw, sheet, ways};

/// Seeds of each prompt.
const SEEDS: u64 = 16;

/// A prompt, the thing that it asks for, and the colour if it asks for one.
const FIRST: [(&str, &str, Option<&str>); 3] = [
    ("a photo of a cat", "cat", None),
    ("a chocolate cookie", "cookie", Some("brown")),
    ("a blue paradise bird in the jungle", "paradise bird", Some("blue")),
];

/// Prompts that leave the time open, under an open sky.
const OPEN: [&str; 4] = [
    "a red cat in the meadow",
    "a boat at the beach",
    "a yellow house in the snow",
    "a flower in the desert",
];

/// Prompts with words that no caption of the training had.
const UNKNOWN: [&str; 4] = ["a dragon", "a fluffy robot on the beach", "a zebra in the meadow", "pizza"];

/// A picture counts as one of a thing if the judge gives what it sees at least this probability.
const SURE: f32 = 0.9;

/// The sky's colour at the top of drawings, by day, at sunset and at night.
const SKIES: [[f32; 3]; 3] = [[104.0, 178.0, 240.0], [120.0, 84.0, 150.0], [12.0, 16.0, 52.0]];
/// Rows of a picture that are sky and have neither sun nor moon in them.
const SKY_ROWS: usize = 4;

/// Draws all prompts with all seeds in every way and prints the table.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let judge = Judge::open(options.fixtures.join("judge.safetensors"), device)?;
    let mut pipeline = options.open()?.load(device)?;
    let columns = FIRST.map(|(prompt, ..)| prompt).join(" | ");
    println!(
        "\n| {SEEDS} seeds | {columns} | day, sunset, night | unknown words: a thing |\n|{}",
        "---|".repeat(6)
    );
    ways::each(options, &mut pipeline, |pipeline, name, request| {
        let drawn = |prompt| draw(pipeline, (0..SEEDS).map(|seed| (prompt, seed)), request);
        let mut cells = Vec::new();
        for (prompt, thing, colour) in FIRST {
            let pictures = drawn(prompt)?;
            let right = |picture: &Image| {
                let seen = judge.verdict(picture.rgb8());
                seen.thing == thing && colour.is_none_or(|colour| seen.colour == colour)
            };
            cells.push(format!("{:.0} %", 100.0 * share(&pictures, right)));
            sheet::save(options, &format!("{prompt}, {name}"), &pictures)?;
        }
        let all = |prompts: [&'static str; 4]| {
            prompts.into_iter().map(drawn).collect::<Result<Vec<_>, _>>().map(|rows| rows.concat())
        };
        let open = all(OPEN)?;
        let times = [0, 1, 2].map(|time| 100.0 * share(&open, |picture| time_of_day(picture) == time));
        cells.push(times.map(|time| format!("{time:.0} %")).join(", "));
        let unknown = all(UNKNOWN)?;
        let sure = share(&unknown, |picture| judge.verdict(picture.rgb8()).sure >= SURE);
        cells.push(format!("{:.0} %", 100.0 * sure));
        println!("| {name} | {} |", cells.join(" | "));
        sheet::save(options, &format!("open, {name}"), &open)?;
        sheet::save(options, &format!("unknown, {name}"), &unknown)
    })
}

fn share(pictures: &[Image], is: impl Fn(&Image) -> bool) -> f64 {
    pictures.iter().filter(|picture| is(picture)).count() as f64 / pictures.len() as f64
}

/// The place in [`SKIES`] of the colour that is nearest to the mean of the uppermost rows.
fn time_of_day(picture: &Image) -> usize {
    let rgb8 = &picture.rgb8()[..SKY_ROWS * 3 * picture.width()];
    let pixels = (rgb8.len() / 3) as f32;
    let mean: [f32; 3] = std::array::from_fn(|i| {
        rgb8.iter().skip(i).step_by(3).map(|&byte| f32::from(byte)).sum::<f32>() / pixels
    });
    let distance = |sky: &[f32; 3]| sky.iter().zip(mean).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    (0..SKIES.len()).min_by(|&a, &b| distance(&SKIES[a]).total_cmp(&distance(&SKIES[b]))).unwrap_or(0)
}
