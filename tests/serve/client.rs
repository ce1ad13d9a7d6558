//! A server of one's own, and requests to it.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hypersd::Image;
use serde_json::{Value, json};
use tungstenite::{WebSocket, client::IntoClientRequest, http::Response};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server. It ends with this.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    agent: ureq::Agent,
    _stdout: BufReader<ChildStdout>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A page that was let in, and what the server said.
pub(crate) type Answered = (Page, Response<Option<Vec<u8>>>);

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let test = std::env::current_exe().expect("this test"); // target/<profile>/deps/serve-…
        let target = test.ancestors().nth(2).expect("target/<profile>");
        let program = target.join("examples").join(format!("serve{}", std::env::consts::EXE_SUFFIX));
        assert!(program.is_file(), "{}: expected the example, built", program.display());
        let mut command = Command::new(program);
        command.args(["--port", "0", "--log", "error"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("http://").expect("an address").parse().expect("an address");
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Self { child, address, agent: config.build().into(), _stdout: stdout }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.agent.get(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.call())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        Answer::of(self.agent.delete(self.url(path)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn post_bytes(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = self.agent.post(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send(body))
    }

    /// A picture by OpenAI's interface.
    pub(crate) fn draw(&self, body: Value) -> Image {
        let answer = self.post("/v1/images/generations", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        picture(&answer.json()["data"][0]["b64_json"])
    }

    /// The value of a line of /metrics.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").text();
        let found = text.lines().find_map(|of| of.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0.0)
    }

    /// Waits until a line of /metrics has a value.
    pub(crate) fn wait_for(&self, line: &str, value: f64) {
        for _ in 0..600 {
            if self.metric(line) == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{line} is {}, not {value}", self.metric(line));
    }

    /// A page that draws live.
    pub(crate) fn page(&self, protocols: &str) -> Result<Page, Box<tungstenite::Error>> {
        let mut request = format!("ws://{}/live", self.address).into_client_request().map_err(Box::new)?;
        let protocols = protocols.parse().expect("a header");
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        self.page_with(request).map(|(page, _)| page)
    }

    pub(crate) fn page_with(
        &self,
        request: tungstenite::handshake::client::Request,
    ) -> Result<Answered, Box<tungstenite::Error>> {
        let stream = TcpStream::connect(self.address).expect("the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => Ok((Page(socket), response)),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("a handshake that waits"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn of(response: Result<Response<ureq::Body>, ureq::Error>) -> Self {
        let mut response = response.expect("an answer");
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().expect("text").to_owned());
        let mut body = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut body).expect("a body");
        Self { status: response.status().as_u16(), retry_after, body }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts that a request was refused, with a message that has these words.
    pub(crate) fn is_refused(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text());
        let message = self.json()["error"]["message"].as_str().expect("a message").to_owned();
        for word in words {
            assert!(message.contains(word), "no {word:?} in {message:?}");
        }
    }
}

/// The picture of base64.
pub(crate) fn picture(text: &Value) -> Image {
    Image::from_bytes(unbase64(text)).expect("a picture")
}

/// The bytes of base64, or of a data URL.
pub(crate) fn unbase64(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("text");
    let text = text.strip_prefix("data:image/png;base64,").unwrap_or(text);
    STANDARD.decode(text).expect("base64")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The other end of a WebSocket.
pub(crate) struct Page(pub(crate) WebSocket<TcpStream>);

/// A message, taken apart.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) header: Value,
    pub(crate) part: Vec<u8>,
}

impl Page {
    pub(crate) fn say(&mut self, what: &Value) {
        self.0.send(tungstenite::Message::text(what.to_string())).expect("sent");
    }

    pub(crate) fn send(&mut self, header: Value, part: &[u8]) {
        let message = crate::frame::message(header, part);
        self.0.send(tungstenite::Message::binary(message)).expect("sent");
    }

    /// The next message that is no ping.
    pub(crate) fn hear(&mut self) -> Told {
        loop {
            match self.0.read().expect("a message") {
                tungstenite::Message::Text(text) => {
                    let header = serde_json::from_str(&text).expect("JSON");
                    return Told { header, part: Vec::new() };
                }
                tungstenite::Message::Binary(bytes) => {
                    let frame = crate::frame::Frame::parse(&bytes).expect("a frame");
                    let header = serde_json::from_slice(frame.header).expect("JSON");
                    return Told { header, part: frame.parts.concat() };
                }
                tungstenite::Message::Close(close) => {
                    return Told {
                        header: json!({ "type": "close", "code": close.map(|close| u16::from(close.code)) }),
                        part: Vec::new(),
                    };
                }
                _ => {}
            }
        }
    }

    /// The next message of a type; those before it are passed over.
    pub(crate) fn hear_of(&mut self, kind: &str) -> Told {
        loop {
            let told = self.hear();
            if told.header["type"] == kind {
                return told;
            }
            assert!(told.header["type"] != "error" && told.header["type"] != "close", "{told:?}");
        }
    }
}
