//! Whether both things of captions like "a red cat and a blue mushroom" are there, each in its own colour.

use std::error::Error;

use hypersd::{Device, Image};
use hypersd_testing::measure::{Judge, Pair, list};

use crate::{Options, captions::draw, sheet, ways};

/// Draws all pairs in every way and prints the table. The seed of a picture is the place of its caption.
pub(crate) fn measure(options: &Options, device: &Device) -> Result<(), Box<dyn Error>> {
    let mut pairs: Vec<Pair> = list(options.fixtures.join("pairs.json"))?;
    pairs.truncate(options.count);
    let judge = Judge::open(options.fixtures.join("judge.safetensors"), device)?;
    let mut pipeline = options.open()?.load(device)?;

    println!("\n| {} pairs | both things | both things and colours |\n|---|---|---|", pairs.len());
    ways::each(options, &mut pipeline, |pipeline, name, request| {
        let prompts = pairs.iter().map(|pair| pair.caption.as_str()).zip(0..);
        let pictures = draw(pipeline, prompts, request)?;
        let [mut things, mut both] = [0, 0];
        for (pair, picture) in pairs.iter().zip(&pictures) {
            let [left, right] = halves(picture);
            let seen = [left, right].map(|half| judge.look(&half, picture.width() / 2));
            things += usize::from(pair.has_things(&seen));
            both += usize::from(pair.has(&seen));
        }
        let [things, both] = [things, both].map(|number| 100.0 * number as f64 / pairs.len().max(1) as f64);
        println!("| {name} | {things:.1} % | {both:.1} % |");
        sheet::save(options, &format!("pairs, {name}"), &pictures)
    })
}

/// The left and the right half of a picture, in RGB8.
fn halves(picture: &Image) -> [Vec<u8>; 2] {
    let row_bytes = 3 * picture.width();
    let rows = || picture.rgb8().chunks_exact(row_bytes);
    [
        rows().flat_map(|row| &row[..row_bytes / 2]).copied().collect(),
        rows().flat_map(|row| &row[row_bytes / 2..]).copied().collect(),
    ]
}
