//! A picture that somebody waits for.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use hypersd::{Image, LivePicture, Request, Skipped};
use tokio::sync::mpsc::UnboundedSender;

use crate::refusal::Refusal;

/// Whoever waits: one page that draws live, or one address that asks by requests.
pub(crate) type User = Arc<str>;

/// A picture to be drawn.
pub(crate) struct Job {
    /// The number that whoever asked knows it by.
    pub(crate) id: u64,
    pub(crate) request: Request,
    /// True for the model with its LoRAs.
    pub(crate) lora: bool,
    /// True where steps are to be seen.
    pub(crate) preview: bool,
    /// As [`hypersd::Live::skip_similar`].
    pub(crate) similar: Option<f32>,
    /// The page that draws live, whose pictures have much in common.
    pub(crate) page: Option<Weak<()>>,
    pub(crate) asked: Instant,
    pub(crate) watch: Watch,
}

/// How whoever waits hears of it, and stops it.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) events: UnboundedSender<Event>,
    stopped: Arc<AtomicBool>,
    /// True while a preview was sent that nobody has taken.
    preview_waits: Arc<AtomicBool>,
}

/// What comes of a job. Each has one [`What::Done`].
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) what: What,
}

pub(crate) enum What {
    Step { step: usize, steps: usize, preview: Option<Image> },
    Done(Result<Done, Refusal>),
}

pub(crate) enum Done {
    Picture(Box<LivePicture>),
    Skipped(Skipped),
}

impl Watch {
    pub(crate) fn new(events: UnboundedSender<Event>) -> Self {
        Self { events, stopped: Arc::default(), preview_waits: Arc::default() }
    }

    /// Nobody wants it any more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// True where nobody wants it any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.events.is_closed()
    }

    /// True where a preview is wanted: the one before it was taken. Pictures must not pile up for who reads slowly.
    pub(crate) fn wants_preview(&self) -> bool {
        !self.preview_waits.load(Ordering::Relaxed)
    }

    /// Says that a preview was taken.
    pub(crate) fn took_preview(&self) {
        self.preview_waits.store(false, Ordering::Relaxed);
    }
}

impl Job {
    /// Tells whoever waits. They may have gone.
    pub(crate) fn tell(&self, what: What) {
        if matches!(what, What::Step { preview: Some(_), .. }) {
            self.watch.preview_waits.store(true, Ordering::Relaxed);
        }
        let _ = self.watch.events.send(Event { id: self.id, what });
    }

    /// Tells how it ended.
    pub(crate) fn end(self, end: Result<Done, Refusal>) {
        self.tell(What::Done(end));
    }

    /// Ends it without a picture.
    pub(crate) fn skip(self, why: Skipped) {
        self.end(Ok(Done::Skipped(why)));
    }
}
