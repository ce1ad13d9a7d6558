//! Who comes first, with a studio whose pictures are nothing and whose time is counted.

use std::{cell::Cell, thread};

use proptest::prelude::*;

use super::{
    turns::{Part, Studio},
    *,
};
use crate::{Control, Start, StartStrength};

/// Parts of a picture in the studio, the last of which gives it, and the time of each.
const PARTS: usize = 4;
const PART: Duration = Duration::from_millis(10);
/// A seed that cannot be drawn.
const BAD: u64 = 13;

/// Draws nothing, slowly.
#[derive(Default)]
struct Slow {
    clock: Cell<Duration>,
}

struct Sketch {
    asked: Duration,
    begun: Duration,
    parts: usize,
}

impl Studio for Slow {
    type Drawing = Sketch;

    fn now(&self) -> Duration {
        self.clock.get()
    }

    fn begin(&self, asked: Duration) -> Sketch {
        Sketch { asked, begun: self.now(), parts: 0 }
    }

    fn advance(&mut self, request: &Request, sketch: &mut Sketch) -> Result<Part, Error> {
        self.clock.set(self.now() + PART);
        sketch.parts += 1;
        if request.seed == BAD {
            return Err(Error::Unloaded);
        }
        if sketch.parts < PARTS {
            return Ok(Part::Done);
        }
        let times = LiveTimes {
            wait: sketch.begun - sketch.asked,
            steps: self.now() - sketch.begun,
            ..LiveTimes::default()
        };
        Ok(Part::Drawn(LivePicture { id: 0, images: Vec::new(), times, reused: Reused::default() }))
    }
}

fn request(seed: u64) -> Request {
    Request { seed, ..Request::default() }
}

/// Events but parts, until there is nothing to do.
fn drain(turns: &mut Turns<Slow>) -> Vec<LiveEvent> {
    std::iter::from_fn(|| turns.advance()).filter(|event| !matches!(event, LiveEvent::Part)).collect()
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Drawn,
    Skipped(Skipped),
    Failed,
}

fn ends(events: &[LiveEvent]) -> Vec<(u64, End)> {
    let end = |event: &LiveEvent| match event {
        LiveEvent::Picture(picture) => Some((picture.id, End::Drawn)),
        LiveEvent::Skipped { id, why } => Some((*id, End::Skipped(*why))),
        LiveEvent::Failed { id, .. } => Some((*id, End::Failed)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

#[test]
fn of_what_waits_only_the_latest_is_drawn() {
    let mut turns = Turns::new(Slow::default());
    turns.ask(0, request(0));
    assert!(matches!(turns.advance(), Some(LiveEvent::Part)));
    for id in 1..=3 {
        turns.ask(id, request(id));
    }
    let events = drain(&mut turns);
    let superseded = End::Skipped(Skipped::Superseded);
    assert_eq!(ends(&events), [(1, superseded), (2, superseded), (0, End::Drawn), (3, End::Drawn)]);
    let Some(LiveEvent::Picture(last)) = events.last() else { panic!("{events:?}") };
    // It came after the first part of the first picture, and waited for the other three.
    assert_eq!((last.times.wait, last.times.steps), (3 * PART, 4 * PART));
    assert_eq!(last.times.total(), 7 * PART);
    assert!(turns.is_idle() && turns.advance().is_none());
}

#[test]
fn what_is_drawn_is_abandoned_where_that_is_asked_for() {
    let mut turns = Turns::new(Slow::default());
    turns.abandons = true;
    turns.ask(0, request(0));
    turns.advance();
    turns.ask(1, request(1));
    let events = drain(&mut turns);
    assert_eq!(ends(&events), [(0, End::Skipped(Skipped::Superseded)), (1, End::Drawn)]);
    assert_eq!(turns.studio.now(), 5 * PART, "one part for nothing");
}

#[test]
fn to_cancel_is_between_any_two_parts() {
    for parts in 0..PARTS {
        let mut turns = Turns::new(Slow::default());
        turns.ask(0, request(0));
        for _ in 0..parts {
            assert!(matches!(turns.advance(), Some(LiveEvent::Part)));
        }
        turns.cancel();
        assert_eq!(ends(&drain(&mut turns)), [(0, End::Skipped(Skipped::Cancelled))]);
        assert_eq!(turns.studio.now(), PART * parts as u32);
    }
}

#[test]
fn what_fails_does_not_stop_what_comes_after() {
    let mut turns = Turns::new(Slow::default());
    turns.ask(0, request(BAD));
    let failed = turns.advance();
    turns.ask(1, request(1));
    assert_eq!(ends(&Vec::from_iter(failed)), [(0, End::Failed)]);
    assert_eq!(ends(&drain(&mut turns)), [(1, End::Drawn)]);
}

#[test]
fn similar_frames_are_left_out_and_others_are_not() {
    let frame = |level: u8| {
        let image = Image::from_rgb8(8, 8, vec![level; 192]).expect("a picture");
        Request {
            start: Start::picture(image.clone(), StartStrength::default()),
            controls: vec![Control::new(image)],
            ..Request::default()
        }
    };
    let mut turns = Turns::new(Slow::default());
    turns.similar = Some(2.0);
    let mut end = |id, request| {
        turns.ask(id, request);
        ends(&drain(&mut turns))
    };
    let similar = End::Skipped(Skipped::Similar);
    assert_eq!(end(0, frame(100)), [(0, End::Drawn)]);
    assert_eq!(end(1, frame(101)), [(1, similar)]);
    assert_eq!(end(2, frame(99)), [(2, similar)]);
    // Compared with what was drawn, not with what was left out: slow changes are not missed.
    assert_eq!(end(3, frame(102)), [(3, End::Drawn)]);
    assert_eq!(end(4, Request { seed: 1, ..frame(102) }), [(4, End::Drawn)]);
    let small = Image::from_rgb8(4, 4, vec![102; 48]).expect("a picture");
    assert_eq!(end(5, Request { controls: vec![Control::new(small)], ..frame(102) }), [(5, End::Drawn)]);
    assert_eq!(end(6, Request::default()), [(6, End::Drawn)]);
}

/// What somebody does while pictures are drawn.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Asks for a seed.
    Ask(u64),
    Cancel,
    /// Lets a part be done.
    Wait,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![3 => (0..20_u64).prop_map(Act::Ask), 1 => Just(Act::Cancel), 8 => Just(Act::Wait)]
}

proptest! {
    #[test]
    fn the_last_is_drawn_and_never_an_older_one_after_it(
        acts in prop::collection::vec(act(), 0..60),
        abandons: bool,
    ) {
        let mut turns = Turns::new(Slow::default());
        turns.abandons = abandons;
        let (mut events, mut asked, mut cancelled) = (Vec::new(), Vec::new(), 0);
        for act in acts {
            match act {
                Act::Ask(seed) => {
                    turns.ask(asked.len() as u64, request(seed));
                    asked.push(seed);
                }
                Act::Cancel => {
                    turns.cancel();
                    cancelled = asked.len();
                }
                Act::Wait => events.extend(turns.advance()),
            }
        }
        events.extend(drain(&mut turns));
        let mut ends = ends(&events);
        let drawn: Vec<u64> = ends.iter().filter(|(_, end)| *end == End::Drawn).map(|(id, _)| *id).collect();
        prop_assert!(drawn.is_sorted(), "{drawn:?}");
        // Each has one end.
        ends.sort_by_key(|(id, _)| *id);
        prop_assert_eq!(ends.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (0..asked.len() as u64).collect::<Vec<_>>());
        for (id, end) in &ends {
            prop_assert!(*end != End::Failed || asked[*id as usize] == BAD);
            prop_assert!(*end != End::Skipped(Skipped::Cancelled) || (*id as usize) < cancelled);
        }
        if let Some((seed, (_, end))) = asked.last().zip(ends.last()) {
            let drawn = if *seed == BAD { End::Failed } else { End::Drawn };
            prop_assert!(*end == drawn || cancelled == asked.len(), "{:?}", ends);
        }
    }
}

#[test]
fn an_inbox_is_followed_from_another_thread_to_its_end() {
    const REQUESTS: u64 = 2_000;
    let inbox = Inbox::default();
    let ends = thread::scope(|threads| {
        let follower = threads.spawn(|| {
            let mut turns = Turns::new(Slow::default());
            Following::new(&mut turns, &inbox).collect::<Vec<_>>()
        });
        for id in 0..REQUESTS {
            inbox.ask(id, request(id % 10));
            if id % 64 == 0 {
                thread::yield_now();
            }
        }
        inbox.close();
        inbox.ask(REQUESTS, request(0)); // too late
        ends(&follower.join().expect("the follower"))
    });
    let mut ids: Vec<u64> = ends.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..REQUESTS).collect::<Vec<_>>(), "each has one end");
    let drawn: Vec<u64> = ends.iter().filter(|(_, end)| *end == End::Drawn).map(|(id, _)| *id).collect();
    assert!(drawn.is_sorted() && drawn.last() == Some(&(REQUESTS - 1)), "{drawn:?}");
}

#[test]
fn an_inbox_that_is_cancelled_draws_nothing_of_it() {
    let inbox = Inbox::default();
    inbox.ask(0, request(0));
    inbox.cancel();
    inbox.ask(1, request(1));
    inbox.close();
    let mut turns = Turns::new(Slow::default());
    let events: Vec<_> = Following::new(&mut turns, &inbox).collect();
    assert_eq!(ends(&events), [(0, End::Skipped(Skipped::Cancelled)), (1, End::Drawn)]);
}

#[test]
fn drawing_live_may_move_to_another_thread() {
    fn sent<T: Send>() {}
    fn shared<T: Sync>() {}
    sent::<Live<'static>>();
    sent::<Inbox>();
    shared::<Inbox>();
}
