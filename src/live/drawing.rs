//! A picture, part by part.

use std::{mem, time::Duration};

use burn::tensor::Tensor;

use super::{
    LivePicture, LiveTimes,
    turns::{Part, Studio},
};
use crate::{
    Denoising, Error, Pipeline, Request,
    draw::{Beginning, Decoding, Memo, NoiseSource, Plan, Prompted},
};

/// A clock, of which only differences count.
pub(super) type Clock = Box<dyn Fn() -> Duration + Send>;

/// A pipeline that remembers the picture before.
pub(super) struct Artist<'a> {
    pipeline: &'a Pipeline,
    memo: Memo,
    pub(super) clock: Clock,
}

/// A picture in progress.
pub(super) struct Drawing<'a> {
    next: Next<'a>,
    times: LiveTimes,
}

/// The part that comes next, and what it takes.
#[expect(clippy::large_enum_variant, reason = "there is one, and it lasts for a part of a drawing")]
enum Next<'a> {
    Prompts,
    Start(Plan, Prompted),
    Controls(Plan, Prompted, Beginning, NoiseSource),
    Step(Denoising<'a>),
    Decoder(Tensor<4>),
    Decode(Decoding<'a>),
    /// Nothing: a part failed.
    Over,
}

impl<'a> Artist<'a> {
    pub(super) fn new(pipeline: &'a Pipeline) -> Self {
        Self { pipeline, memo: Memo::kept(), clock: system_clock() }
    }

    /// Does a part, and says what comes next and what there is to tell.
    fn part(&mut self, request: &Request, next: Next<'a>) -> Result<(Next<'a>, Part), Error> {
        let Pipeline { model, notices, .. } = self.pipeline;
        let memo = &mut self.memo;
        let next = match next {
            Next::Prompts => {
                let plan = model.plan(request)?;
                model.tell(request, &plan, notices);
                let conditions = model.conditions(request, &plan, notices, memo)?;
                Next::Start(plan, conditions)
            }
            Next::Start(plan, conditions) => {
                let (beginning, noise) = model.beginning(request, &plan, notices, memo)?;
                Next::Controls(plan, conditions, beginning, noise)
            }
            Next::Controls(plan, conditions, beginning, noise) => {
                Next::Step(model.denoising(request, plan, conditions, (beginning, noise), memo)?)
            }
            Next::Step(mut denoising) => {
                let step = denoising.next().ok_or(hypersd_schedulers::Error::NoTimesteps)??;
                let next = match denoising.len() {
                    0 => Next::Decoder(step.x.clone()),
                    _ => Next::Step(denoising),
                };
                return Ok((next, Part::Step(step)));
            }
            Next::Decoder(latents) => Next::Decode(model.autoencoder.decoding(latents)?),
            Next::Decode(mut decoding) => {
                decoding.advance(notices)?;
                if !decoding.is_left() {
                    let images = request.start.paste(decoding.into_images())?;
                    let reused = memo.reused();
                    let picture = LivePicture { id: 0, images, times: LiveTimes::default(), reused };
                    return Ok((Next::Over, Part::Drawn(picture)));
                }
                Next::Decode(decoding)
            }
            Next::Over => unreachable!("a drawing that is over is not gone on with"),
        };
        Ok((next, Part::Done))
    }
}

impl<'a> Studio for Artist<'a> {
    type Drawing = Drawing<'a>;

    fn now(&self) -> Duration {
        (self.clock)()
    }

    fn begin(&self, asked: Duration) -> Drawing<'a> {
        let wait = self.now().saturating_sub(asked);
        Drawing { next: Next::Prompts, times: LiveTimes { wait, ..LiveTimes::default() } }
    }

    fn advance(&mut self, request: &Request, drawing: &mut Drawing<'a>) -> Result<Part, Error> {
        let began = self.now();
        let next = mem::replace(&mut drawing.next, Next::Over);
        let time = next.time();
        let (next, part) = self.part(request, next)?;
        // A GPU has then but queued it. What fails there is told to whoever reads the result.
        let _ = self.pipeline.model.device.sync();
        *time(&mut drawing.times) += self.now().saturating_sub(began);
        drawing.next = next;
        Ok(match part {
            Part::Drawn(picture) => Part::Drawn(LivePicture { times: drawing.times, ..picture }),
            part => part,
        })
    }
}

impl Next<'_> {
    /// The time that the part counts to.
    fn time(&self) -> fn(&mut LiveTimes) -> &mut Duration {
        match self {
            Self::Prompts => |times| &mut times.prompt,
            Self::Start(..) => |times| &mut times.start,
            Self::Controls(..) => |times| &mut times.controls,
            Self::Step(_) => |times| &mut times.steps,
            Self::Decoder(_) | Self::Decode(_) | Self::Over => |times| &mut times.decode,
        }
    }
}

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
fn system_clock() -> Clock {
    let origin = std::time::Instant::now();
    Box::new(move || origin.elapsed())
}

/// The standard library's clock panics there.
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
fn system_clock() -> Clock {
    Box::new(|| Duration::ZERO)
}
