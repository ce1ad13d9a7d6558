//! Whether the thing and the colour of each caption are in its picture.

use std::error::Error;

use hypersd::{Algorithm, Device, Image, Pipeline, Recipe, Request, Spacing, Steps};
use hypersd_testing::measure::{Caption, Judge, Tally, list};

use crate::{Options, sheet};

/// A row of the table: a name, and how it draws.
type Row = (String, Request);

/// Draws all captions in every way and prints the table. The seed of a picture is the place of its caption.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let mut captions: Vec<Caption> = list(options.fixtures.join("captions.json"))?;
    captions.truncate(options.count);
    let judge = Judge::open(options.fixtures.join("judge.safetensors"), device)?;
    let mut pipeline = Pipeline::open(options.model())?.load(device)?;

    println!("| {} captions | right thing | right colour | both |\n|---|---|---|---|", captions.len());
    for (loras, rows) in
        [(vec![], base(options.base_guidance)), (vec![(options.lora(), 1.0_f32)], distilled())]
    {
        pipeline.set_loras(&loras)?;
        for (name, request) in rows {
            let pictures = draw(&pipeline, &captions, &request)?;
            let mut tally = Tally::default();
            for (caption, picture) in captions.iter().zip(&pictures) {
                tally.count(caption, &judge.verdict(picture.rgb8()));
            }
            let [thing, colour, both] =
                [tally.things, tally.colours, tally.both].map(|number| 100.0 * tally.share(number));
            println!("| {name} | {thing:.1} % | {colour:.1} % | {both:.1} % |");
            sheet::save(options, &name, &pictures)?;
        }
    }
    Ok(())
}

fn draw(pipeline: &Pipeline, captions: &[Caption], request: &Request) -> Result<Vec<Image>, hypersd::Error> {
    let request = |(seed, caption): (usize, &Caption)| Request {
        prompt: caption.caption.clone(),
        seed: seed as u64,
        ..request.clone()
    };
    let mut pictures = Vec::new();
    for request in captions.iter().enumerate().map(request) {
        pictures.extend(pipeline.generate(&request)?);
    }
    Ok(pictures)
}

/// The model as it was trained: DDIM, with guidance where there is time for it.
fn base(guidance: f64) -> Vec<Row> {
    let row = |(steps, guidance): (usize, f64)| {
        let request = Request {
            scheduler: Some(Algorithm::Ddim),
            spacing: Some(Spacing::Trailing),
            steps: Steps::Count(steps),
            guidance,
            ..Request::default()
        };
        (format!("base, {}, guidance {guidance}", in_words(steps)), request)
    };
    [(25, guidance), (4, guidance), (1, 0.0)].map(row).into()
}

/// With the LoRA, as its recipe has it.
fn distilled() -> Vec<Row> {
    [1, 2, 4, 8].map(|steps| (format!("LoRA, {}", in_words(steps)), unified(steps))).into()
}

/// The LoRA's recipe with a number of steps.
pub(crate) fn unified(steps: usize) -> Request {
    Request { steps: Steps::Count(steps), ..Recipe::HYPER_SD15_UNIFIED.request("") }
}

pub(crate) fn in_words(steps: usize) -> String {
    format!("{steps} step{}", if steps == 1 { "" } else { "s" })
}
