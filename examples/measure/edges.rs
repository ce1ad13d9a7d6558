//! Whether pictures have the edges that the ControlNet was shown.

use std::error::Error;

use hypersd::{Canny, Control, Device, Image, Request};
use hypersd_testing::measure::{EdgeMap, EdgeTally, list};

use crate::{
    Options, sheet,
    ways::{in_words, unified},
};

/// Draws the captions of all edge maps with and without the ControlNet, and prints the table.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let mut maps: Vec<EdgeMap> = list(options.fixtures.join("edges.json"))?;
    maps.truncate(options.count);
    let open = |map: &EdgeMap| Image::open(options.fixtures.join("edges").join(&map.file));
    let given = maps.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    sheet::save(options, "edges", &given)?;

    let lora = || options.open()?.lora(options.lora(), 1.0);
    let without = lora()?.load(device)?;
    let with = lora()?.controlnet(options.controlnet())?.load(device)?;

    println!("\n| {} edge maps | precision | recall | F1 |\n|---|---|---|---|", maps.len());
    for steps in [1, 4] {
        for (name, pipeline, controlled) in [("without", &without, false), ("with", &with, true)] {
            let name = format!("LoRA, {}, {name} ControlNet", in_words(steps));
            let mut pictures = Vec::new();
            for (seed, (map, edges)) in maps.iter().zip(&given).enumerate() {
                let control = Control::new(edges.clone());
                pictures.extend(pipeline.generate(&Request {
                    prompt: map.caption.as_str().into(),
                    seed: seed as u64,
                    width: Some(edges.width()),
                    height: Some(edges.height()),
                    controls: if controlled { vec![control] } else { Vec::new() },
                    ..unified(steps)
                })?);
            }
            let tally = compare(&given, &pictures)?;
            let [precision, recall, f1] =
                [tally.precision(), tally.recall(), tally.f1()].map(|share| 100.0 * share);
            println!("| {name} | {precision:.1} % | {recall:.1} % | {f1:.1} % |");
            sheet::save(options, &name, &pictures)?;
        }
    }
    Ok(())
}

fn compare(given: &[Image], pictures: &[Image]) -> Result<EdgeTally, Box<dyn Error>> {
    let mut tally = EdgeTally::default();
    for (given, picture) in given.iter().zip(pictures) {
        let found = Canny::default().edges(picture)?;
        tally.count(given.rgb8(), found.rgb8(), given.width());
    }
    Ok(tally)
}
