//! What an operator may tell a running gateway.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};

use super::{Failure, wire};
use crate::live::Live;

/// The router over what answers.
pub(crate) fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/v1/reload", post(reload))
        .route("/v1/secrets/rotate", post(rotate))
        .with_state(live)
}

async fn reload(State(live): State<Arc<Live>>) -> Result<Json<wire::Reloaded>, Failure> {
    let reloaded = live.reload_file().await;
    let reloaded = reloaded.map_err(|error| Failure::of(StatusCode::BAD_REQUEST, &error))?;
    Ok(Json(wire::Reloaded {
        routes: reloaded.routes,
        upstreams: reloaded.upstreams,
        changed: reloaded.changed,
    }))
}

async fn rotate(State(live): State<Arc<Live>>) -> Result<Json<wire::Rotated>, Failure> {
    let until = live.rotate().await;
    let until = until.map_err(|error| Failure::of(StatusCode::INTERNAL_SERVER_ERROR, &error))?;
    Ok(Json(wire::Rotated {
        previous_until: until.to_rfc3339(),
    }))
}
