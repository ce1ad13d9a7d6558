//! Requests that nobody means well with: each is refused, and the server goes on.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    PROMPT,
    client::{Server, base64},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A PNG file of a header that promises so many pixels a side, and nothing else.
fn promising(side: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(side.to_be_bytes());
    header.extend(side.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let crc = crc32(&header);
    [b"\x89PNG\r\n\x1a\n\0\0\0\x0d", &header[..], &crc.to_be_bytes()].concat()
}

/// The checksum of a PNG's chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, byte)
}

#[test]
fn hostile_requests_are_refused_and_the_server_goes_on() {
    let server = Server::start(&["--max-body", "1"]);
    let generations = "/v1/images/generations";
    let bytes = |headers: &[(&str, &str)], body: &[u8]| server.post_bytes(generations, headers, body);
    bytes(&[JSON], &vec![b' '; 2 << 20]).is_refused(413, &["1048576"]);
    bytes(&[JSON], b"").is_refused(400, &[]);
    bytes(&[JSON], b"{").is_refused(400, &[]);
    bytes(&[JSON], &[0xFF; 64]).is_refused(400, &[]);
    bytes(&[JSON], "[".repeat(500_000).as_bytes()).is_refused(400, &[]);
    // What a form of another page can send without asking.
    bytes(&[("content-type", "text/plain")], b"{\"prompt\": \"x\"}").is_refused(415, &[]);
    bytes(&[], b"{\"prompt\": \"x\"}").is_refused(415, &[]);
    let with = |name: &str, value: Value| {
        let mut body = json!({ "prompt": PROMPT });
        body[name] = value;
        server.post(generations, &body)
    };
    for (name, value) in [
        ("prompt", json!("x".repeat(10_001))),
        ("negative_prompt", json!("(".repeat(10_001))),
        ("n", json!(u64::MAX)),
        ("seed", json!(-1)),
        ("steps", json!(u64::MAX)),
        ("steps", json!(0)),
        ("width", json!(u64::MAX)),
        ("width", json!(0)),
        ("height", json!(7)),
        ("size", json!("18446744073709551616x8")),
        ("eta", json!(1e308)),
        ("guidance", json!(1e308)),
        ("control", json!([{ "data": "" }, { "data": "" }])),
        ("control", json!({ "data": "AAAA", "encoding": "rgba", "width": u64::MAX, "height": u64::MAX })),
        ("control", json!({ "data": "AAAA", "encoding": "rgba", "width": 1, "height": 2 })),
        ("control", json!({ "data": base64(&promising(16_000)) })),
        ("control", json!({ "data": base64(&promising(u32::MAX)) })),
        ("control", json!({ "data": base64(&promising(64)) })),
        ("image", json!({ "data": "file:///etc/passwd" })),
        ("image", json!({ "data": "data:image/png;base64,/etc/passwd" })),
        ("mask", json!({ "data": base64(&promising(64)) })),
        ("model", json!("x")),
    ] {
        let answer = with(name, value.clone());
        let expected = if name == "model" { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{name} {value}: {}", answer.text());
        assert!(!answer.text().contains("root:"), "{name}");
    }
    let scale = json!({ "data": base64(&crate::square(8).encode(&[]).expect("a file")), "scale": 1e39 });
    with("control", scale).is_refused(400, &[]);
    for path in
        ["/../Cargo.toml", "/..%2fCargo.toml", "//etc/passwd", "/index.html/../../x", "/v1/models/..%2f.."]
    {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get(generations).status, 405);
    assert_eq!(server.metric("hypersd_panics_total"), 0.0);
    server.draw(json!({ "prompt": PROMPT }));
}

#[test]
fn who_is_slow_or_gone_is_in_nobodys_way() {
    let server = Server::start(&[]);
    let connect = || TcpStream::connect(server.address).expect("the server");
    // They begin a request and say no more.
    let slow: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = connect();
            let head: &[u8] = match index % 3 {
                0 => b"",
                1 => b"POST /v1/images/generations HT",
                _ => b"POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                       content-length: 1000\r\n\r\n{",
            };
            stream.write_all(head).expect("sent");
            stream
        })
        .collect();
    // They ask, and go.
    let body = json!({ "prompt": PROMPT, "steps": 8, "size": "1024x1024" }).to_string();
    for _ in 0..3 {
        let mut stream = connect();
        let length = body.len();
        let head = format!(
            "POST /v1/images/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(200));
    }
    server.draw(json!({ "prompt": PROMPT }));
    server.wait_for("hypersd_pictures_total{end=\"skipped\"}", 3.0);
    drop(slow);
    // What is no HTTP at all.
    let mut stream = connect();
    stream.write_all(&[0, 255, 10, 13, 10, 13]).expect("sent");
    let _ = stream.read(&mut [0; 64]);
    server.draw(json!({ "prompt": PROMPT }));
}
