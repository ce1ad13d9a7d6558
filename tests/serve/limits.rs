//! What there is no room or time for, and how the server goes.

use std::{process::Command, thread, time::Duration};

use serde_json::json;

use crate::{
    PROMPT,
    client::{Server, picture},
    drawn, recipe,
};

#[test]
fn what_there_is_no_room_for_is_told_when_to_come_again() {
    let server = Server::start(&["--max-queue", "2"]);
    let slow = json!({ "prompt": PROMPT, "seed": 1, "steps": 8, "size": "256x256" });
    let statuses = thread::scope(|threads| {
        let asking: Vec<_> =
            (0..8).map(|_| threads.spawn(|| server.post("/v1/images/generations", &slow))).collect();
        asking.into_iter().map(|asking| asking.join().expect("an answer")).collect::<Vec<_>>()
    });
    let (drawn, refused): (Vec<_>, Vec<_>) = statuses.iter().partition(|answer| answer.status == 200);
    assert!(drawn.len() >= 2 && !refused.is_empty(), "{} drawn", drawn.len());
    for answer in refused {
        answer.is_refused(429, &["try again"]);
        let seconds: u64 = answer.retry_after.as_ref().expect("a time").parse().expect("seconds");
        assert!((1..=600).contains(&seconds));
    }
}

#[test]
fn what_takes_too_long_is_given_up() {
    let server = Server::start(&["--max-seconds", "0.05"]);
    let slow = json!({ "prompt": PROMPT, "steps": 8, "size": "1024x1024" });
    server.post("/v1/images/generations", &slow).is_refused(504, &["0.05 s"]);
}

#[test]
fn no_more_pages_than_there_is_room_for() {
    let server = Server::start(&["--max-live", "1"]);
    let mut first = server.page("hypersd.live.1").expect("a page");
    assert_eq!(first.hear().header["type"], "ready");
    assert!(server.page("hypersd.live.1").is_err());
    drop(first);
    server.wait_for("hypersd_pages", 0.0);
    server.page("hypersd.live.1").expect("a page");
}

#[cfg(unix)]
#[test]
fn a_server_that_is_told_to_go_finishes_what_it_draws() {
    let mut server = Server::start(&[]);
    let mut page = server.page("hypersd.live.1").expect("a page");
    assert_eq!(page.hear().header["type"], "ready");
    let process = server.child.id().to_string();
    let body = json!({ "prompt": PROMPT, "seed": 2, "steps": 8 });
    let answer = thread::scope(|threads| {
        let asking = threads.spawn(|| server.post("/v1/images/generations", &body));
        thread::sleep(Duration::from_millis(100));
        let told = Command::new("kill").args(["-TERM", &process]).status().expect("kill");
        assert!(told.success());
        asking.join().expect("an answer")
    });
    // It was begun, unless this machine is slow.
    match answer.status {
        200 => {
            let request = hypersd::Request { steps: hypersd::Steps::Count(8), ..recipe(PROMPT, 2) };
            assert!(picture(&answer.json()["data"][0]["b64_json"]) == drawn(request));
        }
        _ => answer.is_refused(503, &["shutting down"]),
    }
    loop {
        let told = page.hear().header;
        if told["type"] == "close" {
            assert_eq!(told["code"], 1001);
            break;
        }
    }
    assert!(server.child.wait().expect("its end").success());
}

#[test]
fn a_command_line_that_cannot_be_right_is_refused() {
    let test = std::env::current_exe().expect("this test");
    let program = test.ancestors().nth(2).expect("target/<profile>").join("examples/serve");
    let run = |arguments: &[&str]| Command::new(&program).args(arguments).output().expect("the program runs");
    for (arguments, status, words) in [
        (&["--port", "x"][..], 2, "port"),
        (&["--max-body", "0"], 2, "1 to 1024"),
        (&["--device", "abacus"], 2, "abacus"),
        (&["--model", "no/such/model/here"], 1, "no/such/model/here"),
        (&["--token-file", "no-such-file"], 1, "no-such-file"),
        (&["--recipe", "hyper-sdxl-2steps"], 2, "Stable Diffusion XL"),
    ] {
        let output = run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {message}");
        assert!(message.contains(words) && !message.contains("panicked"), "{arguments:?}: {message}");
    }
}
