//! Bodies that flow: nothing waits for their end.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use stiver_gateway::LEDGER_PATH;
use tokio::sync::mpsc;

use crate::common::{World, get, paid, upstream::Upstream, with};

/// A body whose frames a test sends one by one.
pub(crate) struct Fed(mpsc::Receiver<Frame<Bytes>>);

/// The test's end of a [`Fed`] body.
pub(crate) type Feed = mpsc::Sender<Frame<Bytes>>;

impl Fed {
    /// A body, and the end that feeds it.
    pub(crate) fn new() -> (Feed, Self) {
        let (feed, frames) = mpsc::channel(1);
        (feed, Self(frames))
    }
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

/// An API that answers with these bodies, one after another.
fn api(bodies: Vec<Fed>, media_type: &'static str) -> Upstream {
    let bodies = Arc::new(Mutex::new(bodies));
    let answer = move || {
        let body = bodies.lock().unwrap().remove(0);
        async move {
            Response::builder()
                .header("content-type", media_type)
                .header("trailer", "x-sum, payment-receipt")
                .body(Body::new(body))
                .unwrap()
        }
    };
    Upstream::serving(Router::new().fallback(answer))
}

/// The next bytes of a body, whole.
pub(crate) async fn next(body: &mut Incoming, length: usize) -> Bytes {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let frame = body.frame().await.expect("the body goes on").unwrap();
        bytes.extend_from_slice(frame.data_ref().expect("data"));
    }
    bytes.into()
}

pub(crate) async fn send(feed: &Feed, text: &'static str) {
    let frame = Frame::data(Bytes::from_static(text.as_bytes()));
    feed.send(frame).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_event_arrives_before_the_second_is_made() {
    let (feeds, bodies): (Vec<_>, Vec<_>) = (0..3).map(|_| Fed::new()).unzip();
    let world = World::with(api(bodies, "text/event-stream; charset=utf-8")).await;
    let (first, second) = (
        world.pay(get("/v1/reading")).await,
        world.pay(get("/v1/reading")).await,
    );
    let requests = [
        get("/free/events"),
        paid(get("/v1/reading"), &first),
        // A response that would be kept for repetition is read in full before it is sent: not one
        // that is a stream of events.
        with(paid(get("/v1/reading"), &second), "idempotency-key", "a"),
    ];
    for (feed, request) in feeds.into_iter().zip(requests) {
        let is_paid = request.uri().path() == "/v1/reading";
        let response = world.begin(request.map(Full::new)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers().contains_key("payment-receipt"), is_paid);
        let mut body = response.into_body();
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            send(&feed, event).await;
            assert_eq!(next(&mut body, event.len()).await, event);
        }
        drop(feed);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_the_api_pass_but_for_what_only_we_may_say() {
    let (feed, body) = Fed::new();
    let world = World::with(api(vec![body], "application/grpc")).await;
    let request = with(get("/free/call"), "te", "trailers");
    let response = world.begin(request.map(Full::new)).await;
    assert_eq!(response.headers()["trailer"], "x-sum, payment-receipt");
    send(&feed, "answer").await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    trailers.insert("payment-receipt", "forged".parse().unwrap());
    feed.send(Frame::trailers(trailers)).await.unwrap();
    drop(feed);
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().expect("trailers").clone();
    assert_eq!(trailers["x-sum"], "7");
    assert!(!trailers.contains_key("payment-receipt"), "{trailers:?}");
    assert_eq!(collected.to_bytes(), "answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn client_that_does_not_read_holds_the_api_back() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1024;
    let (feed, body) = Fed::new();
    let world = World::with(api(vec![body], "application/octet-stream")).await;
    let response = world.begin(get("/free/flood").map(Full::new)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let feeding = tokio::spawn(async move {
        let piece = Bytes::from(vec![7; PIECE]);
        for _ in 0..PIECES {
            feed.send(Frame::data(piece.clone())).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Other work goes on meanwhile, long enough for a gateway that takes all it gets.
    for _ in 0..300 {
        assert_eq!(world.ask(get(LEDGER_PATH)).await.status, StatusCode::OK);
    }
    // Sockets and buffers hold some; without back-pressure all would have been taken.
    let held = taken.load(Ordering::SeqCst);
    assert!(held < PIECES / 2, "{held} pieces were taken");
    let read = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read.len(), PIECES * PIECE);
    feeding.await.unwrap();
}
