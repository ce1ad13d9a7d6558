//! AUTOMATIC1111's interface.

use std::{thread, time::Duration};

use hypersd::{Mask, Prompt, Request, Start, StartStrength, Steps};
use serde_json::{Value, json};

use crate::{
    PROMPT,
    client::{Server, base64, picture},
    drawn, recipe, square,
};

/// What its clients always send, whatever the model.
fn typical(more: Value) -> Value {
    let mut body = json!({
        "prompt": PROMPT, "negative_prompt": "blurry", "seed": 5, "steps": 20, "cfg_scale": 7.0, "width": 128,
        "height": 128, "sampler_name": "Euler a", "batch_size": 1, "n_iter": 1, "restore_faces": false,
        "override_settings": {}, "script_args": [], "alwayson_scripts": {}, "send_images": true,
    });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

fn weighted(prompt: &str, seed: u64) -> Request {
    let size = Some(128);
    let negative = Some(Prompt::weighted("blurry"));
    Request { prompt: Prompt::weighted(prompt), negative, width: size, height: size, ..recipe("", seed) }
}

#[test]
fn pictures_are_those_of_the_recipe_whatever_clients_send() {
    let server = Server::start(&[]);
    let answer = server.post("/sdapi/v1/txt2img", &typical(json!({ "batch_size": 2 })));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    for (index, seed) in [5, 6].into_iter().enumerate() {
        assert!(picture(&answer["images"][index]) == drawn(weighted(PROMPT, seed)), "picture {index}");
    }
    let info: Value = serde_json::from_str(answer["info"].as_str().expect("text")).expect("JSON");
    assert_eq!(info["all_seeds"], json!([5, 6]));
    assert_eq!(
        (&info["steps"], &info["cfg_scale"], &info["sampler_name"]),
        (&json!(1), &json!(0.0), &json!("TCD"))
    );
    assert!(info["infotexts"][1].as_str().expect("text").contains("Seed: 6"), "{info}");
    let few =
        server.post("/sdapi/v1/txt2img", &typical(json!({ "steps": 4, "prompt": "a (yellow:1.3) star" })));
    let request = Request { steps: Steps::Count(4), ..weighted("a (yellow:1.3) star", 5) };
    assert!(picture(&few.json()["images"][0]) == drawn(request));
}

#[test]
fn pictures_are_changed_and_painted_in() {
    let server = Server::start(&[]);
    let photo = square(128);
    let file = base64(&photo.encode(&[]).expect("a file"));
    let body = typical(
        json!({ "init_images": [format!("data:image/png;base64,{file}")], "denoising_strength": 0.6 }),
    );
    let answer = server.post("/sdapi/v1/img2img", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let start = Start::picture(photo.clone(), StartStrength::Level(0.6));
    assert!(picture(&answer.json()["images"][0]) == drawn(Request { start, ..weighted(PROMPT, 5) }));
    let body =
        typical(json!({ "init_images": [file], "mask": file, "mask_blur": 2, "denoising_strength": 1.0 }));
    let answer = server.post("/sdapi/v1/img2img", &body).json();
    let mask = Mask { blur: 2.0, ..Mask::new(photo.clone()) };
    let start = Start::Masked { images: vec![photo], mask, strength: StartStrength::Level(1.0) };
    assert!(picture(&answer["images"][0]) == drawn(Request { start, ..weighted(PROMPT, 5) }));
    server.post("/sdapi/v1/img2img", &typical(json!({}))).is_refused(400, &["init_images"]);
    let none = typical(json!({ "init_images": ["no base64!"] }));
    server.post("/sdapi/v1/img2img", &none).is_refused(400, &["init_images", "base64"]);
}

#[test]
fn frontends_find_what_they_ask_for() {
    let server = Server::start(&[]);
    let get = |path: &str| server.get(&format!("/sdapi/v1/{path}")).json();
    assert_eq!(get("options")["sd_model_checkpoint"], "demo");
    assert_eq!(get("sd-models")[0]["model_name"], "demo");
    assert_eq!(get("loras")[0]["name"], "demo");
    assert!(get("samplers").as_array().expect("a list").iter().any(|sampler| sampler["name"] == "Euler a"));
    assert_eq!((get("upscalers"), get("progress")["progress"].clone()), (json!([]), json!(0.0)));
    let set = |name: &str| server.post("/sdapi/v1/options", &json!({ "sd_model_checkpoint": name }));
    assert_eq!(set("demo").status, 200);
    set("../../etc/passwd").is_refused(400, &["sd_model_checkpoint"]);
}

#[test]
fn an_interrupted_request_answers_with_what_is_done() {
    let server = Server::start(&["--max-batch", "500"]);
    thread::scope(|threads| {
        let drawing = threads
            .spawn(|| server.post("/sdapi/v1/txt2img", &typical(json!({ "n_iter": 500, "steps": 8 }))));
        let progress = || server.get("/sdapi/v1/progress").json();
        while progress()["state"]["job_no"].as_u64().expect("a number") == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        let shown = progress();
        assert!(shown["progress"].as_f64().expect("a number") > 0.0, "{shown}");
        assert_eq!(shown["state"]["job_count"], 500);
        assert_eq!(server.post("/sdapi/v1/interrupt", &json!({})).status, 200);
        let answer = drawing.join().expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let images = answer.json()["images"].as_array().expect("a list").len();
        assert!((1..500).contains(&images), "{images}");
        assert_eq!(progress()["state"]["job_count"], 0);
    });
}
