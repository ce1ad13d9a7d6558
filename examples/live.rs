//! A picture that follows what is typed: each line is a prompt, and the picture of the latest is in `live.png`.
//!
//! ```sh
//! cargo run --release --example live
//! ```
//!
//! Lines that come while a picture is drawn replace each other. What the times say of the second picture: only what changed was
//! computed again.

use std::{error::Error, io::stdin, thread};

use hypersd::{Device, Inbox, LiveEvent, Pipeline, Recipe};

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Pipeline::open(hypersd_demo::model())?.lora(hypersd_demo::hyper_lora(), 1.0)?;
    let pipeline = builder.load(&Device::flex())?;
    let inbox = Inbox::default();
    thread::scope(|threads| {
        let drawing = threads.spawn(|| draw(&pipeline, &inbox));
        for (id, prompt) in stdin().lines().map_while(Result::ok).enumerate() {
            inbox.ask(id as u64, Recipe::HYPER_SD15_UNIFIED.request(prompt));
        }
        inbox.close();
        Ok(drawing.join().map_err(|_| "drawing panicked")??)
    })
}

/// Draws what is in the inbox until it is closed.
#[expect(clippy::print_stdout, reason = "an example talks")]
fn draw(pipeline: &Pipeline, inbox: &Inbox) -> Result<(), &'static str> {
    for event in pipeline.live().follow(inbox) {
        match event {
            LiveEvent::Picture(picture) => {
                picture.images[0].save("live.png").map_err(|_| "live.png cannot be written")?;
                println!("line {} in {:?}: {:?}", picture.id, picture.times.total(), picture.times);
            }
            LiveEvent::Skipped { id, why } => println!("line {id}: {why}"),
            LiveEvent::Failed { id, error } => println!("line {id}: {error}"),
            _ => {}
        }
    }
    Ok(())
}
