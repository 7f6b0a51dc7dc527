//! The demo's own API: a sensor that knows nothing of payments.

mod charger;
mod chat;
mod feed;

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::failure::Failure;

/// How long a live reading takes: twenty come in a second.
const READING_PACE: Duration = Duration::from_millis(50);

/// What the sensor counts: how often each of its handlers ran.
#[derive(Default)]
struct Counters {
    temperature: AtomicU64,
    history: AtomicU64,
    calibrate: AtomicU64,
}

/// Serves on a free port of loopback, prints where, and runs until it is killed.
pub(crate) async fn run() -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(address).await?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "listening on http://{}", listener.local_addr()?)?;
        out.flush()?;
    }
    axum::serve(listener, router()).await?;
    Ok(())
}

fn router() -> Router {
    Router::new()
        .route("/v1/temperature", get(temperature))
        .route("/v1/free", get(temperature))
        .route("/v1/live", get(live))
        .route("/v1/charge/{post}/{steps}/{segment}", get(charger::segment))
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/history", get(history))
        .route("/v1/calibrate", post(calibrate))
        .route("/stats", get(stats))
        .with_state(Arc::new(Counters::default()))
}

async fn temperature(State(counters): State<Arc<Counters>>) -> Json<Value> {
    let reading = counters.temperature.fetch_add(1, Ordering::Relaxed) + 1;
    Json(json!({"reading": reading, "milli_celsius": 21_000 + reading % 997}))
}

/// Readings at a pace, as long as somebody reads them.
async fn live(State(counters): State<Arc<Counters>>) -> Response {
    feed::events(READING_PACE, move || {
        let reading = counters.temperature.fetch_add(1, Ordering::Relaxed) + 1;
        let reading = json!({"reading": reading, "milli_celsius": 21_000 + reading % 997});
        Some(reading.to_string())
    })
}

async fn history(State(counters): State<Arc<Counters>>) -> Json<Value> {
    counters.history.fetch_add(1, Ordering::Relaxed);
    let readings: Vec<u64> = (0..24).map(|hour| 20_000 + hour * 37 % 900).collect();
    Json(json!({"milli_celsius_by_hour": readings}))
}

async fn calibrate(State(counters): State<Arc<Counters>>, body: String) -> Json<Value> {
    counters.calibrate.fetch_add(1, Ordering::Relaxed);
    Json(json!({"calibrated": true, "bytes_received": body.len()}))
}

async fn stats(State(counters): State<Arc<Counters>>) -> Json<Value> {
    Json(json!({
        "temperature": counters.temperature.load(Ordering::Relaxed),
        "history": counters.history.load(Ordering::Relaxed),
        "calibrate": counters.calibrate.load(Ordering::Relaxed),
    }))
}
