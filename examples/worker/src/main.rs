//! Takes jobs from NATS JetStream to the server beside it, and stores the pictures: as many of these, on as many machines, as
//! there are devices.
//!
//! ```sh
//! nats-server --jetstream &
//! cargo run --release --example serve &
//! cargo run --release --manifest-path examples/worker/Cargo.toml
//! ```
//!
//! A job is a message on `hypersd.wanted.ID` whose text is what `POST /v1/images/generations` takes. The picture, a PNG file, is on
//! `hypersd.drawn.ID` afterwards, or why there is none on `hypersd.failed.ID`. A job is acknowledged when that is stored, so what a
//! killed worker had is given to another; and only the first answer to a job is stored. docs/scale.md has the rest.

mod draw;
mod streams;

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use async_nats::jetstream::{self, AckKind, Message};
use clap::Parser;
use futures_util::StreamExt;
use tokio::{signal, time::interval};

use crate::{
    draw::{Drawing, Drawn},
    streams::{Answers, PATIENCE},
};

/// Takes pictures to draw from NATS JetStream to a hypersd server beside it.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where NATS is
    #[arg(long, value_name = "URL", default_value = "nats://localhost:4222")]
    nats: String,
    /// The server that draws
    #[arg(long, value_name = "URL", default_value = "http://localhost:8188")]
    server: String,
    /// A file with the server's token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How often a job is tried before it counts as failed
    #[arg(long, value_name = "N", default_value_t = 5)]
    tries: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let token = options.token_file.as_ref().map(std::fs::read_to_string).transpose()?;
    let drawing = Arc::new(Drawing::new(&options.server, token.as_deref()));
    let jetstream = jetstream::new(async_nats::connect(&options.nats).await?);
    let answers = streams::answers(&jetstream).await?;
    let mut jobs = streams::jobs(&jetstream).await?;
    loop {
        // One at a time: the server has one device, and who has more devices has more workers.
        let job = tokio::select! {
            job = jobs.next() => job,
            _ = signal::ctrl_c() => return Ok(()),
        };
        match job {
            Some(Ok(job)) => work(&options, &drawing, &answers, job).await?,
            // Whatever it was, NATS is asked again.
            Some(Err(error)) => eprintln!("no job: {error}"),
            None => return Err("NATS has no jobs any more".into()),
        }
    }
}

/// Draws a job and stores the answer, unless that is there already: then who drew it did not live to say so.
async fn work(
    options: &Options,
    drawing: &Arc<Drawing>,
    answers: &Answers,
    job: Message,
) -> Result<(), Box<dyn Error>> {
    let id = streams::id(&job)?.to_owned();
    if !answers.has(&id).await? {
        let last = job.info().is_ok_and(|info| info.delivered >= options.tries);
        match drawn(drawing, &job).await {
            Drawn::Picture(png) => answers.store_picture(&id, png).await?,
            Drawn::Refused(why) => answers.store_failure(&id, &why).await?,
            Drawn::Later(why) if last => answers.store_failure(&id, &why).await?,
            Drawn::Later(why) => {
                eprintln!("{id}: {why}");
                return Ok(job.ack_with(AckKind::Nak(Some(Duration::from_secs(1)))).await?);
            }
        }
    }
    // Confirmed: a lost acknowledgement would have it drawn again.
    Ok(job.double_ack().await?)
}

/// Draws a job. NATS is told that somebody is at it, so that it may take long.
async fn drawn(drawing: &Arc<Drawing>, job: &Message) -> Drawn {
    let (drawing, body) = (drawing.clone(), job.payload.clone());
    let mut asking = tokio::task::spawn_blocking(move || drawing.draw(&body));
    let mut still = interval(PATIENCE / 3);
    loop {
        tokio::select! {
            drawn = &mut asking => return drawn.unwrap_or_else(|error| Drawn::Later(error.to_string())),
            _ = still.tick() => {
                let _ = job.ack_with(AckKind::Progress).await; // if it is lost, there is another
            }
        }
    }
}
