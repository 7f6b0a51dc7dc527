//! Request bodies: those that are bound to the payment, and those that stream past it.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request as Arrived, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use stiver_core::problem::ProblemKind;
use tokio::sync::mpsc;

use crate::{
    common::{Reply, World, paid, post, upstream::Upstream},
    streams::{Fed, send},
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/upload"
methods = ["POST"]
price = "0.001 USD"
body = "stream"
body_limit_bytes = 16
"#;

/// An API that tells what it reads while it reads.
async fn world() -> (World, mpsc::UnboundedReceiver<Bytes>) {
    let (tell, told) = mpsc::unbounded_channel();
    let answer = move |request: Arrived| {
        let tell = tell.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                tell.send(frame.into_data().unwrap()).unwrap();
            }
            Response::new(Body::from("done"))
        }
    };
    let upstream = Upstream::serving(Router::new().fallback(answer));
    (World::configured(upstream, "", ROUTES).await, told)
}

fn upload(body: Fed) -> Request<Fed> {
    Request::post("/v1/upload").body(body).unwrap()
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

fn with_credential(mut request: Request<Fed>, credential: &str) -> Request<Fed> {
    let value = credential.parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn long_upload_is_charged_before_it_is_read_and_then_flows() {
    let (world, mut told) = world().await;
    // Not a byte is sent, and the price is told.
    let (feed, body) = Fed::new();
    let refused = read(world.begin(upload(body)).await).await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED, "{refused:?}");
    drop(feed);
    let challenge = refused.challenge();
    assert!(challenge.params.digest.is_none(), "{challenge:?}");
    let credential = world.credential(challenge).await;

    let (feed, body) = Fed::new();
    let request = with_credential(upload(body), &credential);
    let address = world.address();
    let answer = tokio::spawn(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        crate::common::begin(stream, request).await
    });
    for piece in [
        "the first piece",
        "the second",
        "the third, longer than the limit",
    ] {
        send(&feed, piece).await;
        // The API has it before the next is sent.
        assert_eq!(told.recv().await.unwrap(), piece);
    }
    drop(feed);
    let reply = read(answer.await.unwrap()).await;
    reply.assert_paid();
    assert_eq!(reply.body, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_body_is_bound_and_neither_class_pays_for_the_other() {
    let (world, mut told) = world().await;
    let challenge = world
        .challenge(post("/v1/upload", "sixteen bytes ok"))
        .await;
    assert!(challenge.params.digest.is_some(), "{challenge:?}");
    let bound = world.credential(challenge).await;
    let (_, body) = Fed::new();
    let unbound = read(world.begin(upload(body)).await).await;
    let unbound = world.credential(unbound.challenge()).await;
    let seventeen = "seventeen bytes!!";

    // One was asked for a short body: not another short one, and not a stream.
    let other = world
        .ask(paid(post("/v1/upload", "another body"), &bound))
        .await;
    assert_eq!(other.status, StatusCode::PAYMENT_REQUIRED, "{other:?}");
    let long = world.ask(paid(post("/v1/upload", seventeen), &bound)).await;
    assert_eq!(long.status, StatusCode::PAYMENT_REQUIRED, "{long:?}");
    let (_, body) = Fed::new();
    let streamed = world.begin(with_credential(upload(body), &bound)).await;
    assert_eq!(streamed.status(), StatusCode::PAYMENT_REQUIRED);
    // And the one for a stream is not for a short body.
    let short = world.ask(paid(post("/v1/upload", "short"), &unbound)).await;
    assert_eq!(short.status, StatusCode::PAYMENT_REQUIRED, "{short:?}");
    assert_eq!(world.spent().await, 0);
    assert!(told.try_recv().is_err());

    let request = paid(post("/v1/upload", "sixteen bytes ok"), &bound);
    world.ask(request).await.assert_paid();
    world
        .ask(paid(post("/v1/upload", seventeen), &unbound))
        .await
        .assert_paid();
    assert_eq!(told.recv().await.unwrap(), "sixteen bytes ok");
    assert_eq!(told.recv().await.unwrap(), seventeen);
}

const PRICED_BY_HEADER: &str = r#"
[[route]]
path = "/v1/upload"
methods = ["POST"]
body = "stream"
body_limit_bytes = 16
[route.pricing]
base = "0.001 USD"
cap = "1 USD"
terms = [{ header = "x-units", default = 1, amount = "0.001 USD" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn trailers_cannot_say_what_a_price_is_made_of() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let answer = move |request: Arrived| {
        let tell = tell.clone();
        async move {
            let whole = request.into_body().collect().await.unwrap();
            tell.send(whole.trailers().cloned().unwrap_or_default())
                .unwrap();
            Response::new(Body::from("done"))
        }
    };
    let upstream = Upstream::serving(Router::new().fallback(answer));
    let world = World::configured(upstream, "", PRICED_BY_HEADER).await;
    let (_, body) = Fed::new();
    let refused = read(world.begin(upload(body)).await).await;
    let credential = world.credential(refused.challenge()).await;
    let (feed, body) = Fed::new();
    let mut request = with_credential(upload(body), &credential);
    let trailers = "x-units, x_units, x-sum".parse().unwrap();
    request.headers_mut().insert("trailer", trailers);
    let address = world.address();
    let answer = tokio::spawn(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        crate::common::begin(stream, request).await
    });
    send(&feed, "longer than the sixteen bytes").await;
    let mut trailers = HeaderMap::new();
    for name in ["x-units", "x_units", "x-sum"] {
        let name = HeaderName::from_static(name);
        trailers.insert(name, "1000".parse().unwrap());
    }
    feed.send(Frame::trailers(trailers)).await.unwrap();
    drop(feed);
    let seen = told.recv().await.unwrap();
    let names: Vec<&str> = seen.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum"]);
    read(answer.await.unwrap()).await.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn upload_that_only_drips_ends() {
    let answer = |request: Arrived| async move {
        drop(request.into_body().collect().await);
        Response::new(Body::from("done"))
    };
    let upstream = Upstream::serving(Router::new().fallback(answer));
    let routes = "[[route]]\npath = \"/**\"\naccess = \"free\"\ntimeout_s = 1\n";
    let world = World::configured(upstream, "", routes).await;
    let (feed, body) = Fed::new();
    let address = world.address();
    let answer = tokio::spawn(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        crate::common::begin(stream, upload(body)).await
    });
    let clock = world.env.clock.clone();
    let dripping = async {
        // Until the gateway takes no more.
        while feed.send(Frame::data("x".into())).await.is_ok() {
            clock.sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let reply = tokio::select! {
        () = dripping => unreachable!("it goes on for ever"),
        reply = answer => read(reply.unwrap()).await,
    };
    assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed);
}
