//! What Prometheus is told.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::{artist::times, job::Done, refusal::Refusal};

/// All that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter>,
    ends: Family<End, Counter>,
    seconds: Family<Part, Histogram>,
    /// Of the device, drawing.
    busy: Counter<f64, AtomicU64>,
    drawn: AtomicU64,
    pub(crate) panics: Counter,
    pub(crate) pages: Gauge,
    waiting: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From 2 ms to 65 s.
        let seconds: Family<Part, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.002, 2.0, 16)));
        let mut metrics = Self {
            registry: Registry::with_prefix("hypersd"),
            answers: Family::default(),
            ends: Family::default(),
            seconds,
            busy: Counter::default(),
            drawn: AtomicU64::new(0),
            panics: Counter::default(),
            pages: Gauge::default(),
            waiting: Gauge::default(),
        };
        let Self { registry, answers, ends, seconds, busy, panics, pages, waiting, .. } = &mut metrics;
        registry.register("http_requests", "Answers, by route and status", answers.clone());
        registry.register("pictures", "What was begun, by how it ended", ends.clone());
        let help = "The time that the parts of a picture took";
        registry.register_with_unit("picture", help, Unit::Seconds, seconds.clone());
        registry.register_with_unit("busy", "The time that the device drew", Unit::Seconds, busy.clone());
        registry.register("panics", "Drawings that panicked", panics.clone());
        registry.register("pages", "Pages that draw live", pages.clone());
        registry.register("waiting", "Pictures that wait to be drawn", waiting.clone());
        metrics
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        self.answers.get_or_create(&Answer { route: route.into(), status }).inc();
    }

    /// Counts a picture.
    pub(crate) fn drew(&self, end: &Result<Done, Refusal>, time: Duration) {
        let name = match end {
            Ok(Done::Picture(picture)) => {
                for (part, seconds) in times(picture) {
                    self.seconds.get_or_create(&Part { part }).observe(seconds);
                }
                self.drawn.fetch_add(1, Ordering::Relaxed);
                "drawn"
            }
            Ok(Done::Skipped(_)) => "skipped",
            Err(refusal) if refusal.status.is_server_error() => "failed",
            Err(_) => "refused",
        };
        self.ends.get_or_create(&End { end: name }).inc();
        self.busy.inc_by(time.as_secs_f64());
    }

    /// The device's time for a picture, in the mean; none before the first.
    pub(crate) fn mean_seconds(&self) -> Option<f64> {
        let drawn = self.drawn.load(Ordering::Relaxed);
        (drawn > 0).then(|| self.busy.get() / drawn as f64)
    }

    /// The text of all of them.
    pub(crate) fn text(&self, waiting: usize) -> Result<String, std::fmt::Error> {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
