//! Metered bodies that are not paid to their end, as the connections of clients have them.

use axum::{Router, routing::get as on_get};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::common::{World, get, paid, session::Session, upstream::Upstream, with};

const PATH: &str = "/v1/file";
/// One base unit a byte, a window of 1000 bytes, and a second's patience.
const ROUTES: &str = r#"
[[route]]
path = "/v1/file"
price = "0.000001 USD per byte"

[route.session]
window = "0.001 USD"
pause_s = 1
"#;
/// What the upstream sends.
const BYTES: usize = 2_500;
const DEPOSIT: u128 = 100_000;

async fn world() -> World {
    let media_type = [("content-type", "application/octet-stream")];
    let file = move || async move { (media_type, "x".repeat(BYTES)) };
    let upstream = Upstream::serving(Router::new().route(PATH, on_get(file)));
    World::configured(upstream, "", ROUTES).await
}

/// The request as it stands on the wire.
fn text(credential: &str) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nhost: gateway-test\r\nte: trailers\r\nconnection: te\r\n\
         authorization: {credential}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_1_an_unpaid_body_ends_with_its_connection_and_without_its_last_chunk() {
    let world = world().await;
    let mut session = Session::prepare(&world, get(PATH), DEPOSIT, None).await;
    let answer = world.raw(&text(&session.pay(1_500).await)).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!(body.matches('x').count(), 1_000, "what a voucher paid for");
    assert!(
        !body.contains("0\r\n"),
        "the body is told to be whole: {body}"
    );
    // What was delivered is paid, and nothing else.
    let close = session.close(1_500).await;
    world.ask(paid(get(PATH), &close)).await;
    assert_eq!(world.spent().await, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_1_a_declared_length_is_not_reached_and_the_connection_ends() {
    let world = world().await;
    let mut session = Session::prepare(&world, get(PATH), DEPOSIT, None).await;
    let request = paid(get(PATH), &session.pay(1_500).await).map(Full::new);
    let response = world.begin(request).await;
    assert_eq!(response.headers()["content-length"], "2500");
    let error = response.into_body().collect().await.unwrap_err();
    assert!(format!("{error:?}").contains("IncompleteBody"), "{error:?}");
}

#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_an_unpaid_body_is_reset_and_its_connection_goes_on() {
    let world = world().await;
    let mut session = Session::prepare(&world, get(PATH), DEPOSIT, None).await;
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
    let handshake = hyper::client::conn::http2::handshake(executor, io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let target = format!("http://{}{PATH}", world.address());
    let request = |credential: &str| {
        let request = Request::get(&target).body(Bytes::new()).unwrap();
        with(paid(request, credential), "te", "trailers").map(Full::new)
    };
    let credential = session.pay(1_500).await;
    let response = sender.send_request(request(&credential)).await.unwrap();
    let mut body = response.into_body();
    let mut got = 0;
    let error = loop {
        match body.frame().await {
            Some(Ok(frame)) => got += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(error)) => break error,
            None => panic!("the body looks whole after {got} bytes"),
        }
    };
    assert_eq!(got, 1_000);
    assert!(!error.is_incomplete_message(), "{error:?}");
    // The same connection serves the next request, to its end.
    let credential = session.pay(4_000).await;
    let response = sender.send_request(request(&credential)).await.unwrap();
    let whole = response.into_body().collect().await.unwrap();
    assert!(whole.trailers().unwrap().contains_key("payment-receipt"));
    assert_eq!(whole.to_bytes().len(), BYTES);
}
