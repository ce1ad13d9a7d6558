//! Pictures of a request that changes all the time.
//!
//! Who comes first is in `live/turns.rs`, and what is done for a picture, part by part, in `live/drawing.rs`.

mod drawing;
mod inbox;
mod similar;
mod turns;

use std::{fmt, time::Duration};

use hypersd_core::Image;

pub use crate::draw::Reused;
use crate::{Denoised, Error, Pipeline, Request};
use drawing::Artist;
use inbox::Following;
pub use inbox::Inbox;
use turns::Turns;

/// Drawing as somebody types, or moves a pen: of the requests that come while a picture is drawn only the latest is drawn
/// next, and what it has in common with the picture before it is not computed again.
///
/// Each [`advance`](Self::advance) does a part of the work, of one step at the most, so that drawing can be stopped between
/// parts, and so that a single thread can do other things between them. From other threads, and from async code,
/// requests come by an [`Inbox`].
///
/// ```no_run
/// # fn example(pipeline: &hypersd::Pipeline, strokes: Vec<hypersd::Image>) -> Result<(), hypersd::Error> {
/// use hypersd::{Control, LiveEvent, Request};
///
/// let mut live = pipeline.live();
/// for (id, stroke) in strokes.into_iter().enumerate() {
///     let controls = vec![Control::new(stroke)];
///     live.ask(id as u64, Request { prompt: "a cat".into(), controls, ..Request::default() });
///     while let Some(event) = live.advance() {
///         match event {
///             LiveEvent::Picture(picture) => picture.images[0].save("cat.png")?,
///             LiveEvent::Failed { error, .. } => return Err(error),
///             _ => {}
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Live<'a> {
    turns: Turns<Artist<'a>>,
}

/// What comes of [drawing live](Live::advance).
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "an event is moved once, and pictures are behind pointers")]
pub enum LiveEvent {
    /// A part was done that has nothing to show.
    Part,
    /// A step was taken. For a preview, its [`x0`](Denoised::x0) can be [decoded](Pipeline::decode).
    Step {
        /// Of the request.
        id: u64,
        /// The latents after it.
        step: Denoised,
    },
    /// A request was drawn.
    Picture(LivePicture),
    /// A request is not drawn.
    Skipped {
        /// Of the request.
        id: u64,
        /// Why not.
        why: Skipped,
    },
    /// A request could not be drawn.
    Failed {
        /// Of the request.
        id: u64,
        /// The reason.
        error: Error,
    },
}

/// The pictures of a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LivePicture {
    /// Of the request.
    pub id: u64,
    /// As many as its batch.
    pub images: Vec<Image>,
    /// The time that each part took.
    pub times: LiveTimes,
    /// The parts that were taken from the picture before.
    pub reused: Reused,
}

/// The time that the parts of a picture took, by the [clock](Live::with_clock).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveTimes {
    /// From when it was asked for until it was begun.
    pub wait: Duration,
    /// Of the text encoders.
    pub prompt: Duration,
    /// Of noise, and the encoder where there is a picture to start from.
    pub start: Duration,
    /// Of what the ControlNets make of their pictures.
    pub controls: Duration,
    /// Of all steps: UNet, ControlNets, scheduler.
    pub steps: Duration,
    /// Of the decoder, and of putting the picture together.
    pub decode: Duration,
}

impl LiveTimes {
    /// The time from when the picture was asked for to when it was there.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.wait + self.prompt + self.start + self.controls + self.steps + self.decode
    }
}

/// Why a request is not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// A newer one came.
    Superseded,
    /// The caller [said so](Live::cancel).
    Cancelled,
    /// It would be as what was drawn last: see [`Live::skip_similar`].
    Similar,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Similar => "similar",
        })
    }
}

impl Pipeline {
    /// Draws requests that change all the time.
    #[must_use]
    pub fn live(&self) -> Live<'_> {
        Live { turns: Turns::new(Artist::new(self)) }
    }
}

impl Live<'_> {
    /// Stops what is being drawn as soon as something newer is asked for. Without it, it is finished first, which is what one wants where
    /// requests come faster than pictures: else none would ever be seen.
    #[must_use]
    pub fn abandon(mut self) -> Self {
        self.turns.abandons = true;
        self
    }

    /// Leaves out requests that differ from what was drawn last in the numbers of their pictures alone, by less than `levels`
    /// of 255 in the mean: frames of a camera that nobody moves in front of.
    #[must_use]
    pub fn skip_similar(mut self, levels: f32) -> Self {
        self.set_similar(Some(levels));
        self
    }

    /// As [`skip_similar`](Self::skip_similar), from now on; `None` draws all.
    pub fn set_similar(&mut self, levels: Option<f32>) {
        self.turns.similar = levels;
    }

    /// Takes the time from a clock, of which only differences count. The default is the system's; where the standard library has none, in
    /// a browser, no time passes without this.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + 'static) -> Self {
        self.turns.studio.clock = Box::new(clock);
        self
    }

    /// Asks for a request to be drawn, after what is being drawn, and in the place of one that waits. The caller knows it again by
    /// `id`.
    pub fn ask(&mut self, id: u64, request: Request) {
        self.turns.ask(id, request);
    }

    /// Stops what is being drawn, and forgets what waits. Each is an event, [`Skipped::Cancelled`].
    pub fn cancel(&mut self) {
        self.turns.cancel();
    }

    /// Does the next part of the work: the prompts, the start, the ControlNets' pictures, a step, a stage of the decoder.
    /// `None` where there is nothing to do until something is asked for.
    ///
    /// Every request ends in one event: a picture, skipped, or failed. Pictures come in the order in which they were asked for.
    pub fn advance(&mut self) -> Option<LiveEvent> {
        self.turns.advance()
    }

    /// The events of what is left in an inbox, but for [`LiveEvent::Part`]. It waits, in this thread, while there is nothing to do, and
    /// ends when the inbox is [closed](Inbox::close) and the last of it is drawn.
    pub fn follow<'l>(&'l mut self, inbox: &'l Inbox) -> impl Iterator<Item = LiveEvent> + 'l {
        Following::new(&mut self.turns, inbox)
    }
}

impl fmt::Debug for Live<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("turns", &self.turns).finish_non_exhaustive()
    }
}

/// Compiles the page's examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/live.md")]
struct Page;

#[cfg(test)]
mod tests;
