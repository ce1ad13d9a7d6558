//! OpenAI's interface.

use hypersd::{Image, Location, Mask, Provenance, Request, Start, StartStrength, Steps};
use serde_json::json;

use crate::{
    PROMPT,
    client::{Server, picture, unbase64},
    drawn, recipe, square,
};

const BOUNDARY: &str = "a-boundary";

/// A form of texts and files.
fn form(texts: &[(&str, &str)], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, text) in texts {
        let head =
            format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
        form.extend(head.into_bytes());
    }
    for (name, bytes) in files {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"../../x.png\"\r\n\
             content-type: image/png\r\n\r\n"
        );
        form.extend(head.into_bytes());
        form.extend(*bytes);
        form.extend(b"\r\n");
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    form
}

#[test]
fn pictures_are_those_of_the_library() {
    let server = Server::start(&[]);
    let body =
        json!({ "model": "dall-e-3", "prompt": PROMPT, "n": 2, "size": "auto", "seed": 5, "user": "me" });
    let answer = server.post("/v1/images/generations", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert!(answer["created"].as_u64().expect("a time") > 1_700_000_000);
    for (index, seed) in [5, 6].into_iter().enumerate() {
        let data = &answer["data"][index];
        assert_eq!(data["seed"], seed);
        assert!(picture(&data["b64_json"]) == drawn(recipe(PROMPT, seed)), "picture {index}");
    }
    // It says what it was made of, and can be drawn again.
    let png = unbase64(&answer["data"][0]["b64_json"]);
    let provenance =
        Provenance::read(Location::of_bytes("picture.png", png)).expect("text").expect("provenance");
    assert_eq!((provenance.prompt.as_str(), provenance.seed), (PROMPT, 5));
    assert_eq!(provenance.recipe.as_deref(), Some("hyper-sd15-unified"));
    assert!(!provenance.weights.is_empty());
    let own = json!({ "prompt": PROMPT, "size": "64x96", "seed": 5, "steps": 2, "eta": 0.5 });
    let request = Request {
        width: Some(64),
        height: Some(96),
        eta: Some(0.5),
        steps: Steps::Count(2),
        ..recipe(PROMPT, 5)
    };
    assert!(server.draw(own) == drawn(request));
    let url = json!({ "prompt": PROMPT, "seed": 5, "response_format": "url" });
    let url = server.post("/v1/images/generations", &url).json();
    assert!(picture(&url["data"][0]["url"]) == drawn(recipe(PROMPT, 5)));
    // Nobody chose a seed: it says which it was.
    let answer = server.post("/v1/images/generations", &json!({ "prompt": PROMPT })).json();
    let seed = answer["data"][0]["seed"].as_u64().expect("a seed");
    assert!(picture(&answer["data"][0]["b64_json"]) == drawn(recipe(PROMPT, seed)));
}

#[test]
fn pictures_are_edited_where_the_mask_is_transparent() {
    let server = Server::start(&[]);
    let photo = square(128);
    let png = photo.encode(&[]).expect("a file");
    let headers = [("content-type", "multipart/form-data; boundary=a-boundary")];
    let edit = |texts: &[(&str, &str)], files: &[(&str, &[u8])]| {
        let answer = server.post_bytes("/v1/images/edits", &headers, &form(texts, files));
        assert_eq!(answer.status, 200, "{}", answer.text());
        picture(&answer.json()["data"][0]["b64_json"])
    };
    // The left half is transparent.
    let mut rgba = Vec::new();
    let image =
        image::RgbaImage::from_fn(128, 128, |x, _| image::Rgba([9, 9, 9, if x < 64 { 0 } else { 255 }]));
    image.write_to(&mut std::io::Cursor::new(&mut rgba), image::ImageFormat::Png).expect("a file");
    let texts = [("prompt", PROMPT), ("seed", "3"), ("steps", "4"), ("n", "1"), ("size", "128x128")];
    let edited = edit(&texts, &[("image", &png), ("mask", &rgba)]);
    let white = (0..128 * 128).flat_map(|i| [if i % 128 < 64 { 255 } else { 0 }; 3]).collect();
    let mask = Mask::new(Image::from_rgb8(128, 128, white).expect("a mask"));
    let start = Start::Masked { images: vec![photo.clone()], mask, strength: StartStrength::Share(1.0) };
    let four = Request { steps: Steps::Count(4), ..recipe(PROMPT, 3) };
    assert!(edited == drawn(Request { start, ..four.clone() }));
    // Without a mask the whole picture is changed.
    let texts = [("prompt", PROMPT), ("seed", "3"), ("steps", "4"), ("strength", "0.5")];
    let start = Start::picture(photo, StartStrength::Share(0.5));
    assert!(edit(&texts, &[("image[]", &png)]) == drawn(Request { start, ..four }));
}

#[test]
fn what_cannot_be_right_is_refused_as_openai_does() {
    let server = Server::start(&[]);
    let refused = |body, words: &[&str]| server.post("/v1/images/generations", &body).is_refused(400, words);
    refused(json!({ "n": 1 }), &["prompt"]);
    refused(json!({ "prompt": 7 }), &["prompt"]);
    refused(json!({ "prompt": "x", "n": 0 }), &["n: expected 1 to 8"]);
    refused(json!({ "prompt": "x", "size": "big" }), &["size", "512x512", "big"]);
    refused(json!({ "prompt": "x", "size": "100x100" }), &["multiple of"]);
    refused(json!({ "prompt": "x", "size": "4096x4096" }), &["size", "at most"]);
    refused(json!({ "prompt": "x", "response_format": "jpeg" }), &["response_format"]);
    refused(json!({ "prompt": "x", "stream": true }), &["stream"]);
    refused(json!({ "prompt": "x", "guidance": 7.5 }), &["recipe hyper-sd15-unified"]);
    refused(json!({ "prompt": "x", "scheduler": "fast" }), &["fast"]);
    let answer = server.post("/v1/images/generations", &json!({ "prompt": "x", "steps": 1000 })).json();
    assert_eq!(answer["error"]["param"], "steps");
    assert_eq!(answer["error"]["type"], "invalid_request_error");
    let headers = [("content-type", "multipart/form-data; boundary=a-boundary")];
    let edit = |form: &[u8]| server.post_bytes("/v1/images/edits", &headers, form);
    edit(&form(&[("prompt", PROMPT)], &[])).is_refused(400, &["image"]);
    edit(&form(&[("prompt", PROMPT)], &[("image", b"no picture")]))
        .is_refused(400, &["image", "PNG or JPEG"]);
    edit(b"no form").is_refused(400, &[]);
}

#[test]
fn the_model_is_listed() {
    let server = Server::start(&[]);
    let models = server.get("/v1/models").json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("demo")));
    assert_eq!(server.get("/v1/models/demo").json()["object"], "model");
    server.get("/v1/models/other").is_refused(404, &["demo"]);
}
