//! `/metrics`, `/healthz` and `/readyz`, on a listener of their own and on the admin socket.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{gauges, metrics::Metrics, status::Watched, wire};

/// What Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Shared {
    watched: Arc<Watched>,
    metrics: Arc<Metrics>,
}

/// What anybody may ask who reaches the metrics listener.
pub(crate) fn public(watched: Arc<Watched>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(text))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(Shared { watched, metrics })
}

/// The same, and the whole status.
pub(crate) fn admin(watched: Arc<Watched>, metrics: Arc<Metrics>) -> Router {
    let shared = Shared {
        watched: Arc::clone(&watched),
        metrics: Arc::clone(&metrics),
    };
    let status = Router::new().route("/v1/status", get(status));
    public(watched, metrics).merge(status.with_state(shared))
}

async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(shared): State<Shared>) -> Response {
    let ready = shared.watched.ready();
    let status = match ready.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(ready)).into_response()
}

async fn status(State(shared): State<Shared>) -> Json<wire::Status> {
    Json(shared.watched.status().await)
}

async fn text(State(shared): State<Shared>) -> Response {
    let status = shared.watched.status().await;
    let logs = shared.watched.logs();
    let mut text = String::new();
    let encoded = shared
        .metrics
        .encode(&mut text)
        .and_then(|()| gauges::encode(&status, &logs, &mut text))
        .and_then(|()| prometheus_client::encoding::text::encode_eof(&mut text));
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
