//! Warming up changes nothing but the time that the next picture takes.

use std::sync::{Arc, Mutex};

use hypersd::{Algorithm, Control, Device, Error, Image, Notice, Pipeline, Request, Steps, Strength};
use hypersd_testing::{fixtures, weights};

/// The tiny model with its ControlNet, with its weights in memory or not, and what it gives notice of.
fn pipeline(low_memory: bool) -> (Pipeline, Arc<Mutex<Vec<Notice>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let sink = notices.clone();
    let builder = Pipeline::open(weights("").join("tiny-sd15")).expect("the model");
    let builder = builder.controlnet(weights("").join("tiny-controlnet-sd15")).expect("the ControlNet");
    let builder = builder.on_notice(move |notice| sink.lock().expect("one thread").push(notice));
    let builder = if low_memory { builder.low_memory() } else { builder };
    (builder.load(&Device::flex()).expect("the pipeline"), notices)
}

/// Three pictures of which the ControlNet draws the first half, with guidance, and a prompt that is cut off.
fn request() -> Request {
    let image = Image::open(fixtures("").join("control/photo.png")).expect("a picture");
    let strength = Strength { end: 0.5, ..Strength::default() };
    Request {
        prompt: "a cat on a windowsill ".repeat(40).into(),
        scheduler: Some(Algorithm::Tcd),
        steps: Steps::Count(2),
        guidance: 3.0,
        batch: 3,
        width: Some(64),
        height: Some(96),
        controls: vec![Control { strength, ..Control::new(image) }],
        ..Request::default()
    }
}

#[test]
fn pictures_are_the_same_bytes_and_notices_are_given_once() {
    let (cold, _) = pipeline(false);
    let want = cold.generate(&request()).expect("pictures");
    for low_memory in [false, true] {
        let (warm, notices) = pipeline(low_memory);
        warm.warmup(&request()).expect("a request that can be right");
        assert_eq!(*notices.lock().expect("one thread"), []);
        assert_eq!(warm.generate(&request()).expect("pictures"), want);
        assert!(matches!(notices.lock().expect("one thread")[..], [Notice::PromptTruncated { .. }, ..]));
    }
}

#[test]
fn what_cannot_be_drawn_cannot_be_warmed_up_for() {
    let (pipeline, _) = pipeline(false);
    for request in [
        Request { width: Some(100), ..request() },
        Request { batch: 0, ..request() },
        Request { controls: Vec::new(), ..request() },
        Request { steps: Steps::Count(0), ..request() },
        Request { eta: Some(-1.0), ..request() },
    ] {
        let told =
            |result: Result<(), Error>| result.expect_err("a request that cannot be right").to_string();
        assert_eq!(told(pipeline.warmup(&request)), told(pipeline.generate(&request).map(drop)));
    }
}
