//! Drawing live: every picture is that of its request alone, and what it has in common with the one before is not computed
//! again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hypersd::{
    Control, Image, Inbox, Live, LiveEvent, LivePicture, Mask, Pipeline, Recipe, Request, Skipped, Start,
    StartStrength, Steps,
};
use hypersd_testing::{device, dtype};

const SIDE: usize = 64;

fn pipeline() -> Pipeline {
    let builder = Pipeline::open(hypersd_demo::model()).expect("the model").dtype(dtype());
    let builder = builder.lora(hypersd_demo::hyper_lora(), 1.0).expect("the LoRA");
    builder
        .controlnet(hypersd_demo::controlnet())
        .expect("the ControlNet")
        .load(&device())
        .expect("a pipeline")
}

/// A square on black, `left` pixels from the left.
fn square(left: usize) -> Image {
    let white = |i: usize| (left..left + 20).contains(&(i % SIDE)) && (20..40).contains(&(i / SIDE));
    let bytes = (0..SIDE * SIDE).flat_map(|i| [if white(i) { 255 } else { 0 }; 3]).collect();
    Image::from_rgb8(SIDE, SIDE, bytes).expect("a picture")
}

/// Two steps, with noise in them.
fn scribbled(left: usize) -> Request {
    Request {
        steps: Steps::Count(2),
        controls: vec![Control::new(square(left))],
        ..Recipe::HYPER_SD15_UNIFIED.request(hypersd_demo::PROMPT)
    }
}

fn draw(live: &mut Live<'_>, request: &Request) -> LivePicture {
    live.ask(7, request.clone());
    while let Some(event) = live.advance() {
        match event {
            LiveEvent::Picture(picture) => return picture,
            LiveEvent::Part | LiveEvent::Step { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    panic!("no picture")
}

/// The parts of a picture that were there before: prompt, noise, start, controls.
fn reused(picture: &LivePicture) -> [bool; 4] {
    let reused = picture.reused;
    [reused.prompt, reused.noise, reused.start, reused.controls]
}

#[test]
fn pictures_are_those_of_their_requests_and_what_is_equal_is_not_computed_again() {
    let pipeline = pipeline();
    let mut live = pipeline.live();
    let start = |left| Start::picture(square(left), StartStrength::Level(0.6));
    let masked = |mask, share| Start::Masked {
        images: vec![square(10)],
        mask: Mask::new(square(mask)),
        strength: StartStrength::Share(share),
    };
    let base = scribbled(10);
    let with = |start| Request { start, ..base.clone() };
    // Each beside what it has in common with the one before it.
    let requests = [
        (base.clone(), [false, false, false, false]),
        (base.clone(), [true, true, false, true]),
        (scribbled(30), [true, true, false, false]),
        (Request { prompt: "a yellow star".into(), ..scribbled(30) }, [false, true, false, true]),
        (Request { seed: 8, ..base.clone() }, [false, false, false, false]),
        (Request { eta: Some(0.5), seed: 8, ..base.clone() }, [true, true, false, true]),
        (
            Request { guidance: 3.0, negative: Some("blue".into()), ..base.clone() },
            [false, false, false, true],
        ),
        (Request { guidance: 4.0, negative: Some("blue".into()), ..base.clone() }, [true, true, false, true]),
        (Request { batch: 2, ..base.clone() }, [false, false, false, true]),
        (with(start(10)), [false, false, false, true]),
        (Request { steps: Steps::Count(3), ..with(start(10)) }, [true, true, true, true]),
        (with(start(30)), [true, true, false, true]),
        (with(masked(30, 1.0)), [true, true, false, false]),
        (with(masked(20, 1.0)), [true, true, true, false]),
        (Request { seed: 9, ..with(masked(20, 1.0)) }, [true, false, false, true]),
        (Request { width: Some(48), height: Some(56), ..base.clone() }, [false, false, false, false]),
        (base.clone(), [false, false, false, false]),
    ];
    for (index, (request, expected)) in requests.iter().enumerate() {
        let picture = draw(&mut live, request);
        assert_eq!(picture.id, 7);
        assert_eq!(reused(&picture), *expected, "request {index}");
        assert!(picture.images == pipeline.generate(request).expect("a picture"), "picture {index}");
    }
}

#[test]
fn a_request_that_cannot_be_drawn_fails_and_the_next_is_drawn() {
    let pipeline = pipeline();
    let mut live = pipeline.live();
    live.ask(1, Request { controls: Vec::new(), ..scribbled(10) });
    let failed = std::iter::from_fn(|| live.advance()).find(|event| !matches!(event, LiveEvent::Part));
    assert!(matches!(failed, Some(LiveEvent::Failed { id: 1, .. })), "{failed:?}");
    assert!(live.advance().is_none());
    draw(&mut live, &scribbled(10));
}

#[test]
fn drawing_is_cancelled_between_steps_and_between_the_stages_of_the_decoder() {
    let pipeline = pipeline();
    let mut parts = 0;
    let mut live = pipeline.live();
    let mut steps = 0;
    live.ask(0, scribbled(10));
    while let Some(event) = live.advance() {
        parts += 1;
        steps += usize::from(matches!(event, LiveEvent::Step { .. }));
    }
    // Prompts, start, controls, two steps, and of the decoder: its weights, the middle, four levels, the end.
    assert_eq!((parts, steps), (5 + 7, 2));
    for stop in 1..parts {
        let mut live = pipeline.live();
        live.ask(0, scribbled(10));
        for _ in 0..stop {
            assert!(matches!(live.advance(), Some(LiveEvent::Part | LiveEvent::Step { .. })));
        }
        live.cancel();
        let end = live.advance();
        assert!(matches!(end, Some(LiveEvent::Skipped { id: 0, why: Skipped::Cancelled })), "{end:?}");
        assert!(live.advance().is_none());
    }
}

#[test]
fn times_are_those_of_the_clock() {
    let pipeline = pipeline();
    let ticks = Arc::new(AtomicU64::new(0));
    // Every look at the clock is a second later than the one before.
    let clock = {
        let ticks = ticks.clone();
        move || Duration::from_secs(ticks.fetch_add(1, Ordering::Relaxed))
    };
    let mut live = pipeline.live().with_clock(clock);
    let times = draw(&mut live, &scribbled(10)).times;
    let seconds = [times.wait, times.prompt, times.start, times.controls, times.steps, times.decode];
    assert_eq!(seconds.map(|time| time.as_secs()), [1, 1, 1, 1, 2, 7]);
    assert_eq!(times.total(), Duration::from_secs(13));
}

#[test]
fn pictures_follow_an_inbox_in_another_thread() {
    let pipeline = pipeline();
    let inbox = Inbox::default();
    let drawn = std::thread::scope(|threads| {
        let follower = threads.spawn(|| {
            let mut live = pipeline.live();
            let pictures = live.follow(&inbox).filter_map(|event| match event {
                LiveEvent::Picture(picture) => Some(picture),
                _ => None,
            });
            pictures.collect::<Vec<_>>()
        });
        for id in 0..40 {
            inbox.ask(id, scribbled(id as usize));
        }
        inbox.close();
        follower.join().expect("the follower")
    });
    let ids: Vec<u64> = drawn.iter().map(|picture| picture.id).collect();
    assert!(ids.is_sorted() && ids.last() == Some(&39), "{ids:?}");
    let last = &drawn.last().expect("a picture").images;
    assert!(*last == pipeline.generate(&scribbled(39)).expect("a picture"));
}
