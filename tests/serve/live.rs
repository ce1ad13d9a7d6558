//! Drawing live, by the protocol of docs/server.md.

use std::time::{Duration, Instant};

use hypersd::{Control, Image, Pipeline, Request, Start, StartStrength, Steps};
use hypersd_testing::device;
use serde_json::{Value, json};

use crate::{
    PROMPT,
    client::{Page, Server, Told},
    drawn, recipe, square,
};

const PROTOCOL: &str = "hypersd.live.1";

fn rgba(image: &Image) -> Vec<u8> {
    image.rgb8().chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 77]).collect()
}

/// The picture of a message.
fn shown(told: &Told) -> Image {
    let side = |name: &str| told.header[name].as_u64().expect("a number") as usize;
    match told.header["encoding"].as_str() {
        Some("png") => Image::from_bytes(told.part.clone()).expect("a picture"),
        Some("rgba") => {
            assert!(told.part.chunks_exact(4).all(|pixel| pixel[3] == 255));
            let rgb = told.part.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
            Image::from_rgb8(side("width"), side("height"), rgb).expect("a picture")
        }
        other => panic!("{other:?}"),
    }
}

fn ready(server: &Server) -> Page {
    let mut page = server.page(PROTOCOL).expect("a page");
    assert_eq!(page.hear().header["type"], "ready");
    assert_eq!(page.hear().header, json!({ "type": "next" }));
    page
}

#[test]
fn pictures_follow_what_is_drawn() {
    let server = Server::start(&[]);
    let mut page = server.page(PROTOCOL).expect("a page");
    let told = page.hear().header;
    assert_eq!(
        (&told["type"], &told["protocol"], &told["model"]),
        (&json!("ready"), &json!(1), &json!("demo"))
    );
    assert_eq!(
        (&told["width"], &told["controlnets"], &told["without_lora"]),
        (&json!(128), &json!(1), &json!(true))
    );
    assert_eq!(told["defaults"], json!({ "steps": 1, "eta": 1.0, "guidance": 0.0, "scheduler": "tcd" }));
    assert_eq!(page.hear().header, json!({ "type": "next" }));

    page.say(&json!({ "type": "draw", "id": 1, "prompt": PROMPT, "seed": 3 }));
    let told = page.hear();
    assert_eq!(
        (&told.header["type"], &told.header["id"], &told.header["seed"]),
        (&json!("picture"), &json!(1), &json!(3))
    );
    assert!(shown(&told) == drawn(recipe(PROMPT, 3)));
    assert_eq!(page.hear().header, json!({ "type": "next" }));

    // A scribble as a canvas has it; the same words.
    let header = json!({
        "type": "draw", "id": 2, "prompt": PROMPT, "seed": 3, "encoding": "rgba",
        "control": { "part": 0, "encoding": "rgba", "width": 128, "height": 128 },
    });
    page.send(header.clone(), &rgba(&square(128)));
    let told = page.hear();
    let request = Request { controls: vec![Control::new(square(128))], ..recipe(PROMPT, 3) };
    assert!(shown(&told) == drawn(request));
    assert_eq!(told.header["reused"], json!(["prompt", "noise"]));
    let times = told.header["times"].as_object().expect("times");
    let time = |name: &str| times[name].as_f64().expect("a number");
    let parts = ["wait", "prompt", "start", "control", "steps", "decode", "encode"].map(time);
    assert!((parts.iter().sum::<f64>() - time("total")).abs() < 1.0, "{times:?}");
    assert_eq!(page.hear().header, json!({ "type": "next" }));

    // A start as a file.
    let mut header = header;
    header["control"] = Value::Null;
    header["image"] = json!({ "part": 0 });
    header["noise_level"] = json!(0.5);
    page.send(header, &square(64).encode(&[]).expect("a file"));
    let start = Start::picture(square(64), StartStrength::Level(0.5));
    assert!(shown(&page.hear_of("picture")) == drawn(Request { start, ..recipe(PROMPT, 3) }));

    // Without the LoRA, which is what one step is without it.
    page.say(&json!({ "type": "draw", "prompt": PROMPT, "seed": 3, "lora": false }));
    let bare = Pipeline::open(hypersd_demo::model()).expect("the model").load(&device()).expect("loaded");
    let request = Request { width: Some(128), height: Some(128), ..recipe(PROMPT, 3) };
    assert!(shown(&page.hear_of("picture")) == bare.generate(&request).expect("a picture")[0]);
}

#[test]
fn steps_are_shown() {
    let server = Server::start(&[]);
    let mut page = ready(&server);
    page.say(&json!({ "type": "draw", "id": 9, "prompt": PROMPT, "steps": 4, "preview": true }));
    let mut steps = Vec::new();
    loop {
        let told = page.hear();
        assert_eq!(told.header["id"], 9);
        assert_eq!(shown(&told).width(), 128);
        if told.header["type"] == "picture" {
            assert!(shown(&told) == drawn(Request { steps: Steps::Count(4), ..recipe(PROMPT, 0) }));
            break;
        }
        assert_eq!(told.header["steps"], 4);
        steps.push(told.header["step"].as_u64().expect("a number"));
    }
    assert!(steps.first() == Some(&1) && steps.is_sorted() && *steps.last().expect("steps") < 4, "{steps:?}");
}

#[test]
fn of_many_frames_the_last_is_drawn_and_each_is_answered() {
    const FRAMES: u64 = 40;
    let server = Server::start(&[]);
    let mut page = ready(&server);
    for id in 0..FRAMES {
        page.say(&json!({ "type": "draw", "id": id, "prompt": PROMPT, "seed": id, "steps": 4 }));
    }
    let (mut drawn_ids, mut answered) = (Vec::new(), Vec::new());
    while answered.len() < FRAMES as usize {
        let told = page.hear().header;
        let Some(id) = told["id"].as_u64() else { continue };
        answered.push(id);
        match told["type"].as_str() {
            Some("picture") => drawn_ids.push(id),
            Some("skipped") => assert_eq!(told["reason"], "superseded"),
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..FRAMES).collect::<Vec<_>>());
    assert!(drawn_ids.is_sorted() && drawn_ids.last() == Some(&(FRAMES - 1)), "{drawn_ids:?}");
    assert!(drawn_ids.len() < FRAMES as usize, "none was superseded");
}

#[test]
fn similar_frames_are_left_out_and_what_is_cancelled_is_not_drawn() {
    let server = Server::start(&[]);
    let mut page = ready(&server);
    let mut frame = |id: u64, level: u8| {
        let header = json!({
            "type": "draw", "id": id, "prompt": PROMPT, "similar": 3.0,
            "control": { "part": 0, "encoding": "gray", "width": 64, "height": 64 },
        });
        page.send(header, &[level; 4096]);
        loop {
            let told = page.hear().header;
            if told["type"] != "next" {
                return told;
            }
        }
    };
    assert_eq!(frame(1, 0)["type"], "picture");
    assert_eq!(frame(2, 2), json!({ "type": "skipped", "id": 2, "reason": "similar" }));
    assert_eq!(frame(3, 200)["type"], "picture");

    let began = Instant::now();
    let long =
        json!({ "type": "draw", "id": 4, "prompt": PROMPT, "steps": 8, "width": 1024, "height": 1024 });
    page.say(&long);
    std::thread::sleep(Duration::from_millis(100));
    page.say(&json!({ "type": "cancel" }));
    let told = page.hear_of("skipped").header;
    assert_eq!(
        told,
        json!({ "type": "skipped", "id": 4, "reason": "cancelled" }),
        "after {:?}",
        began.elapsed()
    );
    page.say(&json!({ "type": "draw", "id": 5, "prompt": PROMPT }));
    assert_eq!(page.hear_of("picture").header["id"], 5);
}

#[test]
fn what_cannot_be_read_is_answered_and_the_page_stays() {
    let server = Server::start(&["--max-body", "1"]);
    let mut page = ready(&server);
    let draw = |more: Value| {
        let mut draw = json!({ "type": "draw", "id": 8 });
        for (name, value) in more.as_object().expect("an object") {
            draw[name] = value.clone();
        }
        draw
    };
    let gray = json!({ "part": 0, "encoding": "gray", "width": 9, "height": 9 });
    let texts = [
        ("{", Value::Null, ""),
        ("[]", Value::Null, ""),
        (r#"{"type": 7}"#, Value::Null, ""),
        (&*draw(json!({ "steps": -1 })).to_string(), Value::Null, ""),
        (&*draw(json!({ "steps": 99 })).to_string(), json!(8), "steps"),
        (&*draw(json!({ "control": gray })).to_string(), json!(8), "a part below 0"),
        (&*draw(json!({ "mask": { "data": "" } })).to_string(), json!(8), "mask"),
        (&*draw(json!({ "prompt": "x".repeat(20_000) })).to_string(), json!(8), "prompt"),
    ];
    for (text, id, words) in texts {
        page.0.send(tungstenite::Message::text(text)).expect("sent");
        let told = page.hear().header;
        assert_eq!((&told["type"], &told["id"]), (&json!("error"), &id), "{text}: {told}");
        assert!(told["error"]["message"].as_str().expect("a message").contains(words), "{told}");
        assert_eq!(page.hear().header["type"], "next");
    }
    let messages: [Vec<u8>; 4] = [
        Vec::new(),
        vec![255; 4],
        vec![2, 0, 0, 0, b'{'],
        crate::frame::message(draw(json!({ "control": gray })), b"short"),
    ];
    for message in messages {
        page.0.send(tungstenite::Message::binary(message)).expect("sent");
        assert_eq!(page.hear().header["type"], "error");
        assert_eq!(page.hear().header["type"], "next");
    }
    page.say(&json!({ "type": "from a later version", "id": 1 }));
    page.say(&json!({ "type": "draw", "id": 2, "prompt": PROMPT, "a_later_member": 1 }));
    assert_eq!(page.hear().header["id"], 2);
    // What is too large ends it, and nobody else.
    let _ = page.0.send(tungstenite::Message::binary(vec![0; 2 << 20]));
    let end = std::iter::repeat_with(|| page.0.read())
        .find(|read| !matches!(read, Ok(message) if message.is_text()));
    assert!(matches!(end, Some(Err(_) | Ok(tungstenite::Message::Close(_)))), "{end:?}");
    ready(&server);
}

#[test]
fn a_page_that_goes_leaves_nothing() {
    let server = Server::start(&[]);
    let mut page = ready(&server);
    page.say(&json!({ "type": "draw", "prompt": PROMPT, "steps": 8, "width": 1024, "height": 1024 }));
    std::thread::sleep(Duration::from_millis(100));
    drop(page);
    server.wait_for("hypersd_pages", 0.0);
    server.wait_for("hypersd_pictures_total{end=\"skipped\"}", 1.0);
    server.draw(json!({ "prompt": PROMPT }));
}
