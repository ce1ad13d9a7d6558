//! JSON in, and what is said of what is none.

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The body of a request, which is JSON and says so: what a form of another page can send does not.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

fn refused(rejection: &JsonRejection) -> Refusal {
    let refusal = Refusal::invalid(rejection.body_text());
    match rejection.status() {
        // Its members are of the wrong types: the request is at fault like any other.
        StatusCode::UNPROCESSABLE_ENTITY => refusal,
        status => refusal.with_status(status),
    }
}
