//! What all handlers share, and how each of them has a picture drawn.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use hypersd::{LivePicture, Skipped, TextChunk};
use tokio::sync::{mpsc, watch};

use crate::{
    a1111::Progress,
    draw::Checked,
    job::{Done, Event, Job, User, Watch, What},
    jobs::Jobs,
    metrics::Metrics,
    options::Limits,
    queue::Queue,
    refusal::Refusal,
    studio::Studio,
};

/// The server.
pub(crate) struct Server {
    pub(crate) studio: Studio,
    pub(crate) limits: Limits,
    pub(crate) queue: Queue<User, Job>,
    pub(crate) metrics: Metrics,
    pub(crate) jobs: Jobs,
    pub(crate) progress: Progress,
    /// True when the server goes down.
    pub(crate) going: watch::Receiver<bool>,
    /// Since when it runs, in seconds after 1970: when its models are said to be created.
    pub(crate) began: u64,
}

/// A drawing that is stopped when nobody waits for it any more.
struct Stopping(Watch);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Seconds after 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Whoever asks from an address.
pub(crate) fn user(address: SocketAddr) -> User {
    address.ip().to_string().into()
}

impl Server {
    /// Has a picture drawn, of which steps are told to `step`. It is stopped when this is dropped.
    pub(crate) async fn draw(
        &self,
        user: &User,
        checked: &Checked,
        preview: bool,
        mut step: impl FnMut(usize, usize, Option<hypersd::Image>),
    ) -> Result<LivePicture, Refusal> {
        let (events, mut coming) = mpsc::unbounded_channel::<Event>();
        let watch = Watch::new(events);
        let job = Job {
            id: 0,
            request: checked.request.clone(),
            lora: checked.lora,
            preview,
            similar: None,
            page: None,
            asked: Instant::now(),
            watch: watch.clone(),
        };
        if let Err((_, waiting)) = self.queue.push(user, job) {
            return Err(if *self.going.borrow() {
                Refusal::going_down()
            } else {
                Refusal::busy(self.wait(waiting))
            });
        }
        let stopping = Stopping(watch);
        while let Some(event) = coming.recv().await {
            match event.what {
                What::Step { step: done, steps, preview } => {
                    if preview.is_some() {
                        stopping.0.took_preview();
                    }
                    step(done, steps, preview);
                }
                What::Done(Ok(Done::Picture(picture))) => return Ok(*picture),
                What::Done(Ok(Done::Skipped(Skipped::Cancelled))) => break,
                What::Done(Ok(Done::Skipped(_))) => return Err(Refusal::internal()),
                What::Done(Err(refusal)) => return Err(refusal),
            }
        }
        Err(if *self.going.borrow() { Refusal::going_down() } else { Refusal::cancelled() })
    }

    /// How long so many pictures take, in whole seconds.
    fn wait(&self, waiting: usize) -> u64 {
        let each = self.metrics.mean_seconds().unwrap_or(1.0);
        (each * waiting as f64).clamp(1.0, 600.0).ceil() as u64
    }

    /// The PNG files of a picture, with what it was made of. Compressing takes a while, so it is done elsewhere than where
    /// others wait.
    pub(crate) async fn png(
        self: &Arc<Self>,
        picture: LivePicture,
        checked: &Checked,
    ) -> Result<Vec<u8>, Refusal> {
        let text = self.studio.text(&checked.request, checked.lora)?;
        encoded(picture, text).await
    }
}

/// The PNG file of a picture.
async fn encoded(picture: LivePicture, text: Vec<TextChunk>) -> Result<Vec<u8>, Refusal> {
    let image = picture.images.into_iter().next().ok_or_else(Refusal::internal)?;
    let encoding = tokio::task::spawn_blocking(move || image.encode(&text));
    let png = encoding.await.map_err(|_| Refusal::internal())?;
    Ok(png.map_err(hypersd::Error::from)?)
}
