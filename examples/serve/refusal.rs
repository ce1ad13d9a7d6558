//! Answers that are no pictures, as OpenAI's clients read them.

use std::fmt::Display;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A request that is not drawn, and what whoever asked can do.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    code: &'static str,
    message: String,
    /// The member of the request that is at fault.
    param: Option<String>,
    /// Seconds to wait before the next try.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self { status, code, message: message.to_string(), param: None, retry_after: None }
    }

    /// A request that cannot be right.
    pub(crate) fn invalid(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_value", message)
    }

    /// A member that cannot be right.
    pub(crate) fn of(param: &str, expected: impl Display, found: impl Display) -> Self {
        let refusal = Self::invalid(format_args!("{param}: expected {expected}, found {found}"));
        Self { param: Some(param.into()), ..refusal }
    }

    pub(crate) fn not_found(what: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "this server wants a token: Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn forbidden(message: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn too_large(most: usize) -> Self {
        let message = format_args!("the request is over {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    /// What did not arrive in time.
    pub(crate) fn slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request did not arrive in time")
    }

    /// Too many wait.
    pub(crate) fn busy(seconds: u64) -> Self {
        let message = format_args!("too many requests wait to be drawn; try again in {seconds} s");
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        Self { retry_after: Some(seconds), ..refusal }
    }

    pub(crate) fn timed_out(seconds: f64) -> Self {
        let message =
            format_args!("the picture took more than {seconds} s; ask for a smaller one, or fewer steps");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(StatusCode::CONFLICT, "cancelled", "the request was cancelled")
    }

    pub(crate) fn going_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down")
    }

    /// A fault of ours. What it was is said on the server's side.
    pub(crate) fn internal() -> Self {
        let message = "the server failed to draw this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// As OpenAI's errors are, and with `detail`, which A1111's clients show.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": self.error(), "detail": self.message })
    }

    /// What is in `error`.
    pub(crate) fn error(&self) -> Value {
        let fault = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        json!({ "type": fault, "code": self.code, "message": self.message, "param": self.param })
    }
}

impl From<hypersd::Error> for Refusal {
    fn from(error: hypersd::Error) -> Self {
        match &error {
            hypersd::Error::Request { option, .. } => {
                Self { param: Some((*option).into()), ..Self::invalid(&error) }
            }
            _ if error.is_request() || matches!(error, hypersd::Error::FurtherInput { .. }) => {
                Self::invalid(&error)
            }
            hypersd::Error::Image(_) | hypersd::Error::Model(_) => Self::invalid(&error),
            _ => {
                // Its message may name files.
                tracing::error!(%error, "drawing failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.to_json())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
