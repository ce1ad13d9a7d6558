//! Jobs.

use hypersd::{Control, Image, Request, Steps};
use serde_json::{Value, json};

use crate::{
    PROMPT,
    client::{Server, base64},
    drawn, recipe, square,
};

/// The events of a job: their names, and what they say.
fn events(server: &Server, id: &str) -> Vec<(String, Value)> {
    let text = server.get(&format!("/v1/jobs/{id}/events")).text();
    let event = |event: &str| {
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let name = line("event: ")?.to_owned();
        Some((name, serde_json::from_str(line("data: ")?).expect("JSON")))
    };
    text.split("\n\n").filter_map(event).collect()
}

#[test]
fn a_job_is_followed_to_its_picture() {
    let server = Server::start(&[]);
    let scribble = base64(&square(128).encode(&[]).expect("a file"));
    let body = json!({
        "prompt": PROMPT, "seed": 4, "steps": 8, "control": { "data": scribble, "scale": 0.5, "canny": [100, 200] }
    });
    let answer = server.post("/v1/jobs", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let events = events(&server, &id);
    let (last, said) = events.last().expect("events");
    assert_eq!((last.as_str(), &said["id"]), ("done", &json!(id)), "{events:?}");
    let steps: Vec<_> = events.iter().filter_map(|(_, said)| said["step"].as_u64()).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    let picture = server.get(said["picture"].as_str().expect("a path"));
    let edges =
        hypersd::Canny { low: 100.0, high: 200.0, ..Default::default() }.edges(&square(128)).expect("edges");
    let mut control = Control::new(edges);
    control.strength.scale = 0.5;
    let request = Request { controls: vec![control], steps: Steps::Count(8), ..recipe(PROMPT, 4) };
    assert!(Image::from_bytes(picture.body).expect("a picture") == drawn(request));
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).json()["status"], "done");
}

#[test]
fn a_job_is_cancelled() {
    let server = Server::start(&[]);
    let job = || {
        let body = json!({ "prompt": PROMPT, "steps": 8, "width": 1024, "height": 1024 });
        server.post("/v1/jobs", &body).json()["id"].as_str().expect("an id").to_owned()
    };
    let (drawn, waiting) = (job(), job());
    for id in [&waiting, &drawn] {
        let status = server.delete(&format!("/v1/jobs/{id}")).json();
        assert_eq!((&status["status"], &status["error"]["code"]), (&json!("failed"), &json!("cancelled")));
        assert_eq!(events(&server, id).last().expect("events").0, "failed");
        server.get(&format!("/v1/jobs/{id}/picture")).is_refused(409, &["cancelled"]);
    }
    server.wait_for("hypersd_waiting", 0.0);
    server.draw(json!({ "prompt": PROMPT })); // at once: nothing is in its way
}

#[test]
fn what_is_no_job_is_not_found() {
    let server = Server::start(&[]);
    for path in ["x", "x/events", "x/picture", "..%2f..%2fetc%2fpasswd"] {
        assert_eq!(server.get(&format!("/v1/jobs/{path}")).status, 404, "{path}");
    }
    assert_eq!(server.delete("/v1/jobs/x").status, 404);
    server.post("/v1/jobs", &json!({ "prompt": 1 })).is_refused(400, &[]);
    server.post("/v1/jobs", &json!({ "control": { "part": 0 } })).is_refused(400, &["control", "part"]);
    server.post("/v1/jobs", &json!({ "lora": "maybe" })).is_refused(400, &[]);
}
