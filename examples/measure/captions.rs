//! Whether the thing and the colour of each caption are in its picture.

use std::error::Error;

use hypersd::{Device, Image, Pipeline, Request};
use hypersd_testing::measure::{Caption, Judge, Tally, list};

use crate::{Options, sheet, ways};

/// Draws all captions in every way and prints the table. The seed of a picture is the place of its caption.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let mut captions: Vec<Caption> = list(options.fixtures.join("captions.json"))?;
    captions.truncate(options.count);
    let judge = Judge::open(options.fixtures.join("judge.safetensors"), device)?;
    let mut pipeline = options.open()?.load(device)?;

    println!("| {} captions | right thing | right colour | both |\n|---|---|---|---|", captions.len());
    ways::each(options, &mut pipeline, |pipeline, name, request| {
        let prompts = captions.iter().map(|caption| caption.caption.as_str()).zip(0..);
        let pictures = draw(pipeline, prompts, request)?;
        let mut tally = Tally::default();
        for (caption, picture) in captions.iter().zip(&pictures) {
            tally.count(caption, &judge.verdict(picture.rgb8()));
        }
        let [thing, colour, both] =
            [tally.things, tally.colours, tally.both].map(|number| 100.0 * tally.share(number));
        println!("| {name} | {thing:.1} % | {colour:.1} % | {both:.1} % |");
        sheet::save(options, name, &pictures)
    })
}

/// A picture for each prompt and seed.
pub(crate) fn draw<'a>(
    pipeline: &Pipeline,
    prompts: impl Iterator<Item = (&'a str, u64)>,
    request: &Request,
) -> Result<Vec<Image>, hypersd::Error> {
    let mut pictures = Vec::new();
    for (prompt, seed) in prompts {
        pictures.extend(pipeline.generate(&Request { prompt: prompt.into(), seed, ..request.clone() })?);
    }
    Ok(pictures)
}
