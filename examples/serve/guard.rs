//! Who may ask: whoever has the token, and no page of another origin in the browser of somebody who may.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;

use crate::{refusal::Refusal, server::Server};

/// The longest that a request may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How much more than may be is read before it is said.
const PATIENTLY: usize = 16 << 20;

/// The rules.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) token: Option<Arc<str>>,
    /// Origins other than the server's own whose pages may ask.
    pub(crate) origins: Arc<[String]>,
    /// True where only this machine can ask, by a name of its own. Else a page elsewhere could make the browser take it for its own
    /// server (DNS rebinding).
    pub(crate) loopback: bool,
}

impl Guard {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = text(headers, header::HOST).unwrap_or_default();
        if self.loopback && !is_loopback(host) {
            return Err(Refusal::forbidden("this server answers to localhost only"));
        }
        if let Some(origin) = text(headers, header::ORIGIN) {
            let own = origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
            if !own && !self.allows(origin) {
                return Err(Refusal::forbidden("pages of other origins may not ask (see --allow-origin)"));
            }
        }
        match &self.token {
            Some(token) if !is_open(request) && !has_token(headers, token) => Err(Refusal::unauthorized()),
            _ => Ok(()),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }

    /// What a browser wants to read before it lets a page of another origin have the answer.
    fn allow(&self, origin: Option<HeaderValue>, mut response: Response) -> Response {
        let allowed = |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| self.allows(origin));
        if let Some(origin) = origin.filter(allowed) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            let allowed = HeaderValue::from_static("authorization, content-type");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            let methods = HeaderValue::from_static("GET, POST, DELETE");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        response
    }
}

/// Checks a request before anything reads it.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    // A preflight has no token. What it allows is asked for again, with it.
    let preflight = request.method() == Method::OPTIONS && origin.is_some();
    let checked = match guard.check(&request) {
        Err(refusal) if preflight && refusal.status == StatusCode::UNAUTHORIZED => Ok(()),
        checked => checked,
    };
    let response = match checked {
        Ok(()) if preflight => StatusCode::NO_CONTENT.into_response(),
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    guard.allow(origin, response)
}

/// Waits until a request is there as a whole, of the size and within the time that it may have: nothing waits for a slow client
/// once it is read.
pub(crate) async fn whole(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let most = server.limits.body;
    let (head, body) = request.into_parts();
    match tokio::time::timeout(ARRIVAL, read(body, most)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => Refusal::slow().into_response(),
    }
}

/// The bytes of a body. What is over is read, too, up to a point: who is still sending does not hear that it is too much.
async fn read(body: Body, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid("the request ended before its time"))?;
        length += chunk.len();
        if length <= most {
            bytes.extend(chunk);
        } else if length - most > PATIENTLY {
            break;
        }
    }
    if length <= most { Ok(bytes) } else { Err(Refusal::too_large(most)) }
}

/// Counts answers, and says each.
pub(crate) async fn count(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "elsewhere".into());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    server.metrics.answered(&route, status);
    tracing::info!(%method, %route, status, ms = began.elapsed().as_millis(), "answered");
    response
}

/// Whether anybody may have it: the page, which asks for the rest with a token, and whether the server is there.
fn is_open(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::GET
        && !["/v1/", "/sdapi/", "/live", "/metrics"].iter().any(|closed| path.starts_with(closed))
}

/// By any of the ways that clients have.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let authorization = text(headers, header::AUTHORIZATION).and_then(|text| text.split_once(' '));
    let given = match authorization {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => Some(given.trim().to_owned()),
        // A1111's clients have a name and a password.
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("basic") => password(given),
        _ => None,
    };
    let offered = text(headers, header::SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
    let offered = offered.split(',').filter_map(|protocol| protocol.trim().strip_prefix("bearer."));
    given.as_deref().into_iter().chain(offered).any(|given| is_equal(given, token))
}

fn password(basic: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(basic.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

/// In a time that does not tell how much of it was right.
fn is_equal(given: &str, token: &str) -> bool {
    let differs = given.bytes().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == token.len() && differs == 0
}

/// Whether a `Host` names this machine to itself.
fn is_loopback(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = without_port.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
