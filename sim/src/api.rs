//! The API behind the gateway: it counts what it was asked, and sometimes fails.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use stiver_env::{Clock, Env};

/// Where it listens.
pub const PORT: u16 = 3000;
/// The time between two events of a stream.
const EVENT_PAUSE: Duration = Duration::from_millis(50);

/// What the API did. Outlives its process.
#[derive(Default)]
pub struct Deeds {
    /// How often each path was answered with success.
    pub runs: BTreeMap<String, u32>,
    /// Events sent, by path.
    pub events: BTreeMap<String, u64>,
    /// So many requests fail from now on.
    pub fails: u32,
}

/// The deeds, shared.
pub type SharedDeeds = Arc<Mutex<Deeds>>;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until the process ends.
pub async fn serve(env: Env, deeds: SharedDeeds) {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let Ok(mut listener) = env.net.listen(address).await else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let (clock, deeds) = (Arc::clone(&env.clock), Arc::clone(&deeds));
        let service = service_fn(move |request: Request<Incoming>| {
            let (clock, deeds) = (Arc::clone(&clock), Arc::clone(&deeds));
            async move { Ok::<_, Infallible>(answer(request, clock, deeds).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        env.spawner.spawn(Box::pin(async move {
            // A connection that breaks off is what this is about.
            let _ = connection.await;
        }));
    }
}

async fn answer(
    request: Request<Incoming>,
    clock: Arc<dyn Clock>,
    deeds: SharedDeeds,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if body.collect().await.is_err() {
        return text(StatusCode::BAD_REQUEST, "a body that broke off".to_owned());
    }
    let path = head.uri.path().to_owned();
    {
        let mut deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
        if deeds.fails > 0 {
            deeds.fails -= 1;
            return text(StatusCode::INTERNAL_SERVER_ERROR, "out of order".to_owned());
        }
        *deeds.runs.entry(path.clone()).or_insert(0) += 1;
    }
    match path
        .strip_prefix("/stream/")
        .and_then(|it| it.split('/').nth(1))
    {
        Some(events) => stream(events.parse().unwrap_or(0), &path, clock, deeds),
        None => text(StatusCode::OK, format!("goods of {path}")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(UnsyncBoxBody::new(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response
}

/// An event stream: one event after another.
fn stream(events: u32, path: &str, clock: Arc<dyn Clock>, deeds: SharedDeeds) -> Response<Body> {
    let path = path.to_owned();
    let all = futures_util::stream::unfold(0, move |sent| {
        let (clock, deeds, path) = (Arc::clone(&clock), Arc::clone(&deeds), path.clone());
        async move {
            if sent >= events {
                return None;
            }
            clock.sleep(EVENT_PAUSE).await;
            let mut deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
            *deeds.events.entry(path).or_insert(0) += 1;
            drop(deeds);
            let event = Bytes::from(format!("data: {sent}\n\n"));
            Some((Ok::<_, Infallible>(Frame::data(event)), sent + 1))
        }
    });
    let mut response = Response::new(UnsyncBoxBody::new(StreamBody::new(all)));
    let kind = header::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
