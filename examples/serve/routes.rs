//! What is answered where.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    a1111,
    guard::{Guard, count, guard, whole},
    jobs, live, openai, page,
    refusal::Refusal,
    server::Server,
};

/// All routes, each behind the guard.
pub(crate) fn routes(server: Arc<Server>, rules: Guard) -> Router {
    // Live drawing has no body to wait for.
    let live = Router::new().route("/live", get(live::upgrade));
    let rest = Router::new()
        .route("/v1/images/generations", post(openai::generations))
        .route("/v1/images/edits", post(openai::edits))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{id}", get(openai::one_model))
        .route("/v1/jobs", post(jobs::create))
        .route("/v1/jobs/{id}", get(jobs::status).delete(jobs::cancel))
        .route("/v1/jobs/{id}/events", get(jobs::events))
        .route("/v1/jobs/{id}/picture", get(jobs::picture))
        .route("/sdapi/v1/txt2img", post(a1111::txt2img))
        .route("/sdapi/v1/img2img", post(a1111::img2img))
        .route("/sdapi/v1/options", get(a1111::options).post(a1111::set_options))
        .route("/sdapi/v1/progress", get(a1111::progress))
        .route("/sdapi/v1/interrupt", post(a1111::interrupt))
        .route("/sdapi/v1/samplers", get(a1111::samplers))
        .route("/sdapi/v1/sd-models", get(a1111::sd_models))
        .route("/sdapi/v1/loras", get(a1111::loras))
        .route("/sdapi/v1/upscalers", get(a1111::none))
        .route("/sdapi/v1/prompt-styles", get(a1111::none))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(page::page)
        .layer(middleware::from_fn_with_state(server.clone(), whole));
    live.merge(rest)
        .layer(middleware::from_fn_with_state(rules, guard))
        .layer(middleware::from_fn_with_state(server.clone(), count))
        .layer(axum::extract::DefaultBodyLimit::disable()) // `whole` has one
        .with_state(server)
}

/// `GET /health`: 200 while pictures are drawn, 503 when it goes down.
async fn health(State(server): State<Arc<Server>>) -> Response {
    if *server.going.borrow() { Refusal::going_down().into_response() } else { "ok\n".into_response() }
}

/// `GET /metrics`, as Prometheus reads it.
async fn metrics(State(server): State<Arc<Server>>) -> Response {
    match server.metrics.text(server.queue.waiting()) {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => Refusal::internal().into_response(),
    }
}
