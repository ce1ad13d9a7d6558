//! Whose turn it is: the latest's.

use std::{collections::VecDeque, fmt, time::Duration};

use super::{LiveEvent, LivePicture, Skipped, similar::are_similar};
use crate::{Denoised, Error, Request};

/// Who draws, a part at a time. The tests have one of their own.
pub(super) trait Studio {
    /// A drawing in progress.
    type Drawing;

    /// The time now, from whenever.
    fn now(&self) -> Duration;

    /// Ready for the first part of a request that was asked for at a time.
    fn begin(&self, asked: Duration) -> Self::Drawing;

    /// Does the next part.
    fn advance(&mut self, request: &Request, drawing: &mut Self::Drawing) -> Result<Part, Error>;
}

/// What a part gives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is handed on, and never kept")]
pub(super) enum Part {
    /// Nothing to show.
    Done,
    Step(Denoised),
    /// The end. The id is whoever asked's.
    Drawn(LivePicture),
}

/// The request that is drawn, the one that waits, and what is to be told.
pub(super) struct Turns<S: Studio> {
    pub(super) studio: S,
    pub(super) abandons: bool,
    pub(super) similar: Option<f32>,
    waiting: Option<Asked>,
    current: Option<(u64, Request, S::Drawing)>,
    /// The request that was drawn last.
    drawn: Option<Request>,
    /// Requests that are not drawn, to be told before anything else is done.
    skipped: VecDeque<(u64, Skipped)>,
}

struct Asked {
    id: u64,
    request: Request,
    at: Duration,
}

impl<S: Studio> Turns<S> {
    pub(super) fn new(studio: S) -> Self {
        Self {
            studio,
            abandons: false,
            similar: None,
            waiting: None,
            current: None,
            drawn: None,
            skipped: VecDeque::new(),
        }
    }

    pub(super) fn ask(&mut self, id: u64, request: Request) {
        if self.abandons {
            self.stop(Skipped::Superseded);
        } else if let Some(older) = self.waiting.take() {
            self.skip(older.id, Skipped::Superseded);
        }
        self.waiting = Some(Asked { id, request, at: self.studio.now() });
    }

    pub(super) fn cancel(&mut self) {
        self.stop(Skipped::Cancelled);
    }

    /// Tells of a request that is not drawn.
    pub(super) fn skip(&mut self, id: u64, why: Skipped) {
        self.skipped.push_back((id, why));
    }

    /// True where nothing is left to do or to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.skipped.is_empty() && self.current.is_none() && self.waiting.is_none()
    }

    pub(super) fn advance(&mut self) -> Option<LiveEvent> {
        if let Some((id, why)) = self.skipped.pop_front() {
            return Some(LiveEvent::Skipped { id, why });
        }
        let (id, request, mut drawing) = match self.current.take() {
            Some(current) => current,
            None => {
                let Asked { id, request, at } = self.waiting.take()?;
                if self.is_similar(&request) {
                    return Some(LiveEvent::Skipped { id, why: Skipped::Similar });
                }
                (id, request, self.studio.begin(at))
            }
        };
        // Where this fails or panics, there is nothing to go on with.
        match self.studio.advance(&request, &mut drawing) {
            Ok(Part::Done) => {
                self.current = Some((id, request, drawing));
                Some(LiveEvent::Part)
            }
            Ok(Part::Step(step)) => {
                self.current = Some((id, request, drawing));
                Some(LiveEvent::Step { id, step })
            }
            Ok(Part::Drawn(picture)) => {
                self.drawn = Some(request);
                Some(LiveEvent::Picture(LivePicture { id, ..picture }))
            }
            Err(error) => Some(LiveEvent::Failed { id, error }),
        }
    }

    fn is_similar(&self, request: &Request) -> bool {
        let (Some(levels), Some(drawn)) = (self.similar, &self.drawn) else { return false };
        are_similar(drawn, request, levels)
    }

    fn stop(&mut self, why: Skipped) {
        let current = self.current.take().map(|(id, ..)| id);
        let waiting = self.waiting.take().map(|asked| asked.id);
        for id in current.into_iter().chain(waiting) {
            self.skip(id, why);
        }
    }
}

impl<S: Studio> fmt::Debug for Turns<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns")
            .field("current", &self.current.as_ref().map(|(id, ..)| id))
            .field("waiting", &self.waiting.as_ref().map(|asked| asked.id))
            .finish_non_exhaustive()
    }
}
