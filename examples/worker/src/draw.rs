//! The server beside the worker.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use ureq::Agent;

/// The server.
pub(crate) struct Drawing {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// What comes of a job.
pub(crate) enum Drawn {
    /// A PNG file.
    Picture(Vec<u8>),
    /// It cannot be drawn, here or elsewhere: the server's error, as JSON.
    Refused(String),
    /// Not now, or not here.
    Later(String),
}

impl Drawing {
    pub(crate) fn new(server: &str, token: Option<&str>) -> Self {
        Self {
            agent: Agent::config_builder().http_status_as_error(false).build().into(),
            url: format!("{}/v1/images/generations", server.trim_end_matches('/')),
            authorization: token.map(|token| format!("Bearer {}", token.trim())),
        }
    }

    /// Asks for one picture, and waits for it.
    pub(crate) fn draw(&self, body: &[u8]) -> Drawn {
        self.ask(body).unwrap_or_else(|error| Drawn::Later(error.to_string()))
    }

    fn ask(&self, body: &[u8]) -> Result<Drawn, ureq::Error> {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string()?;
        Ok(match status {
            200 => picture(&text)
                .map_or_else(|| Drawn::Later(format!("no picture in {text:.200}")), Drawn::Picture),
            // The request is at fault, and would be anywhere.
            400 | 413 | 415 => Drawn::Refused(text),
            _ => Drawn::Later(text),
        })
    }
}

/// The PNG file of an answer.
fn picture(answer: &str) -> Option<Vec<u8>> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    STANDARD.decode(answer["data"][0]["b64_json"].as_str()?).ok()
}
