//! Pictures of the embedded demo model that start from pictures: what is new in them is what was asked for, and what was to
//! stay has stayed.

use hypersd::{Image, Mask, Pipeline, Recipe, Request, Start, StartStrength, Steps};
use hypersd_testing::{device, dtype, fixtures, measure::Judge};

/// Least share of masked pictures in which the judge sees the new thing; 1 was seen. It tells twelve apart.
const PAINTED: f64 = 0.9;
/// Least share of pictures from half way to noise with the new thing; 0.78 to 0.83 was seen, 0.08 is chance.
const FOLLOWED: f64 = 0.6;
/// How far what lies around the thing may be from the start picture's, of how far that of other pictures is; 0.2 was seen.
const KEPT: f64 = 0.35;

const THINGS: [&str; 6] = ["mushroom", "boat", "cookie", "star", "tree", "house"];
const PLACES: [&str; 3] = ["in the meadow by day", "at the beach at sunset", "in the desert at night"];

fn load() -> Pipeline {
    let builder = Pipeline::open(hypersd_demo::model()).expect("the model").dtype(dtype());
    builder.lora(hypersd_demo::hyper_lora(), 1.0).expect("the LoRA").load(&device()).expect("the pipeline")
}

fn judge() -> Judge {
    Judge::open(fixtures("").join("demo/judge.safetensors"), &device()).expect("the judge")
}

fn request(prompt: &str, steps: usize, seed: u64) -> Request {
    Request { steps: Steps::Count(steps), seed, ..Recipe::HYPER_SD15_UNIFIED.request(prompt) }
}

fn draw(pipeline: &Pipeline, request: &Request) -> Image {
    let [image] = &pipeline.generate(request).expect("a picture")[..] else { panic!("one picture") };
    image.clone()
}

/// Mean distance of bytes where `of` says so, by column and row.
fn distance(a: &Image, b: &Image, of: impl Fn(usize, usize) -> bool) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    let pixels = a.rgb8().as_chunks::<3>().0.iter().zip(b.rgb8().as_chunks::<3>().0);
    for (i, (a, b)) in pixels.enumerate() {
        if of(i % 128, i / 128) {
            sum += a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
            count += 3.0;
        }
    }
    sum / count
}

/// Two prompts that differ in the thing, each with a seed: what is there first, and what is to be there then.
fn changes() -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
    let things = THINGS.into_iter().zip(THINGS.into_iter().cycle().skip(1));
    let all = things.flat_map(|(thing, other)| PLACES.map(|place| (thing, other, place)));
    all.zip(0..).map(|((thing, other, place), seed)| (thing, other, place, seed))
}

/// White in the middle of black.
fn middle(side: usize) -> Image {
    let edge = (128 - side) / 2;
    let white = |i: usize| (edge..edge + side).contains(&i);
    let rgb8 =
        (0..128 * 128).flat_map(|i| [if white(i % 128) && white(i / 128) { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(128, 128, rgb8).expect("a mask")
}

fn outside(side: usize) -> impl Fn(usize, usize) -> bool {
    let edge = (128 - side) / 2;
    let inside = move |i: usize| (edge..edge + side).contains(&i);
    move |x, y| !(inside(x) && inside(y))
}

#[test]
fn what_is_masked_becomes_what_was_asked_for_and_the_rest_stays() {
    let (pipeline, judge) = (load(), judge());
    let (mut right, mut pictures, mut changed, mut decoded) = (0.0, 0.0, 0.0, 0.0);
    for (thing, other, place, seed) in changes() {
        let first = draw(&pipeline, &request(&format!("a red {thing} {place}"), 1, seed));
        let masked = |side| {
            let start = Start::Masked {
                images: vec![first.clone()],
                mask: Mask::new(middle(side)),
                strength: StartStrength::Share(1.0),
            };
            draw(&pipeline, &Request { start, ..request(&format!("a blue {other} {place}"), 2, seed + 100) })
        };
        let painted = masked(96);
        right += f64::from(judge.verdict(painted.rgb8()).thing == other);
        pictures += 1.0;
        // A mask of nothing leaves what encoder and decoder make of the picture.
        let coded = masked(0);
        changed += distance(&painted, &coded, outside(112));
        decoded += distance(&coded, &first, outside(112));
    }
    let share = right / pictures;
    assert!(share >= PAINTED, "the new thing is in {share:.3} of the pictures");
    let [changed, decoded] = [changed, decoded].map(|sum| sum / pictures);
    assert!(changed <= decoded, "{changed:.2} levels around the mask, for {decoded:.2} of the decoder's own");
}

#[test]
fn half_way_to_noise_the_place_stays_and_the_thing_follows_the_prompt() {
    let (pipeline, judge) = (load(), judge());
    // Two steps of four, and one step from the same noise.
    for (steps, strength) in [(4, StartStrength::Share(0.5)), (1, StartStrength::Level(0.5))] {
        let (mut right, mut pictures, mut kept, mut free) = (0.0, 0.0, 0.0, 0.0);
        for (thing, other, place, seed) in changes() {
            let first = draw(&pipeline, &request(&format!("a red {thing} {place}"), 1, seed));
            // The prompt does not say where and when.
            let anywhere = request(&format!("a red {other}"), steps, seed + 100);
            let start = Start::picture(first.clone(), strength);
            let drawn = draw(&pipeline, &Request { start, ..anywhere.clone() });
            right += f64::from(judge.verdict(drawn.rgb8()).thing == other);
            pictures += 1.0;
            kept += distance(&drawn, &first, outside(104));
            free += distance(&draw(&pipeline, &anywhere), &first, outside(104));
        }
        let share = right / pictures;
        assert!(share >= FOLLOWED, "{strength:?}: the new thing is in {share:.3} of the pictures");
        let part = kept / free;
        assert!(part <= KEPT, "{strength:?}: places are off by {part:.3} of what other places are");
    }
}
