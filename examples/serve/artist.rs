//! The thread that draws. There is one for a device: two pictures at a time would each take twice as long.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Weak,
    time::Instant,
};

use hypersd::{Denoised, Live, LiveEvent, LivePicture, Pipeline, Skipped};

use crate::{
    job::{Done, Job, User, What},
    metrics::Metrics,
    options::Limits,
    queue::Queue,
    refusal::Refusal,
    studio::Studio,
};

/// Who draws.
pub(crate) struct Artist<'a> {
    pub(crate) studio: &'a Studio,
    pub(crate) queue: &'a Queue<User, Job>,
    pub(crate) limits: &'a Limits,
    pub(crate) metrics: &'a Metrics,
}

/// What is remembered of the pictures of each page, and of all that is asked for by requests.
type Memories<'a> = HashMap<(Option<User>, bool), Memory<'a>>;

struct Memory<'a> {
    page: Option<Weak<()>>,
    live: Live<'a>,
}

impl Artist<'_> {
    /// Draws until the queue is closed.
    pub(crate) fn run(&self) {
        let mut memories = Memories::new();
        while let Some((user, job)) = self.queue.next() {
            memories.retain(|_, memory| memory.page.as_ref().is_none_or(|page| page.strong_count() > 0));
            let began = Instant::now();
            let end = match job.watch.is_stopped() {
                true => Ok(Done::Skipped(Skipped::Cancelled)),
                false => self.contained(&user, &job, &mut memories),
            };
            let time = began.elapsed();
            self.metrics.drew(&end, time);
            self.queue.done(&user, time);
            job.end(end);
        }
    }

    /// Draws, and survives it.
    fn contained<'a>(&'a self, user: &User, job: &Job, memories: &mut Memories<'a>) -> Result<Done, Refusal> {
        let key = (job.page.is_some().then(|| user.clone()), job.lora);
        let pipeline = self.studio.pipeline(job.lora)?;
        let drawn = catch_unwind(AssertUnwindSafe(|| {
            let memory = memories
                .entry(key.clone())
                .or_insert_with(|| Memory { page: job.page.clone(), live: pipeline.live() });
            self.draw(&mut memory.live, pipeline, job)
        }));
        drawn.unwrap_or_else(|_| {
            // The hook has said where and why. What was remembered may be half of something.
            memories.remove(&key);
            self.metrics.panics.inc();
            Err(Refusal::internal())
        })
    }

    fn draw(&self, live: &mut Live<'_>, pipeline: &Pipeline, job: &Job) -> Result<Done, Refusal> {
        let began = Instant::now();
        let wait = began - job.asked;
        live.set_similar(job.similar);
        live.ask(job.id, job.request.clone());
        let mut late = false;
        while let Some(event) = live.advance() {
            match event {
                LiveEvent::Step { step, .. } => self.show(pipeline, job, &step),
                LiveEvent::Picture(mut picture) => {
                    picture.times.wait = wait;
                    return Ok(Done::Picture(Box::new(picture)));
                }
                LiveEvent::Skipped { .. } if late => {
                    return Err(Refusal::timed_out(self.limits.time.as_secs_f64()));
                }
                LiveEvent::Skipped { why, .. } => return Ok(Done::Skipped(why)),
                LiveEvent::Failed { error, .. } => return Err(error.into()),
                _ => {}
            }
            late = began.elapsed() > self.limits.time;
            if late || job.watch.is_stopped() {
                live.cancel();
            }
        }
        Ok(Done::Skipped(Skipped::Cancelled))
    }

    /// Tells of a step, and shows it where that is wanted.
    fn show(&self, pipeline: &Pipeline, job: &Job, step: &Denoised) {
        let Denoised { index, steps, .. } = *step;
        let last = index + 1 == steps;
        let wanted = job.preview && !last && job.watch.wants_preview();
        let preview = wanted.then(|| pipeline.decode(step.x0.clone()).ok()?.into_iter().next()).flatten();
        job.tell(What::Step { step: index + 1, steps, preview });
    }
}

/// The parts of a picture's time, by the names that clients and metrics have for them, in seconds.
pub(crate) fn times(picture: &LivePicture) -> [(&'static str, f64); 6] {
    let times = &picture.times;
    [
        ("wait", times.wait),
        ("prompt", times.prompt),
        ("start", times.start),
        ("control", times.controls),
        ("steps", times.steps),
        ("decode", times.decode),
    ]
    .map(|(name, time)| (name, time.as_secs_f64()))
}
