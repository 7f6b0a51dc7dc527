//! A top-up that trickles in while a stream waits for it.

use axum::{Router, routing::get as on_get};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::{World, get, paid, session::Session, upstream::Upstream};

const ROUTES: &str = r#"
[[route]]
path = "/v1/events"
price = "0.001 USD per event"

[route.session]
window = "0.001 USD"
pause_s = 1
"#;
const PATH: &str = "/v1/events";
/// What a channel is opened with, base units: two events.
const DEPOSIT: u128 = 2_000;
/// What is added, base units.
const ADDED: u128 = 5_000;

async fn world() -> World {
    let events = "data: one\n\n".repeat(5);
    let answer = move || {
        let events = events.clone();
        async move { ([("content-type", "text/event-stream")], events) }
    };
    let router = Router::new().route(PATH, on_get(answer));
    World::configured(Upstream::serving(router), "", ROUTES).await
}

/// Reads until a text has come.
async fn read_until(body: &mut hyper::body::Incoming, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let frame = body.frame().await.expect("it goes on").unwrap();
        if let Ok(data) = frame.into_data() {
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_up_that_trickles_in_holds_no_stream_and_moves_nothing_until_it_is_whole() {
    let world = world().await;
    let mut session = Session::prepare(&world, get(PATH), DEPOSIT, None).await;
    let request = paid(get(PATH), &session.pay(DEPOSIT).await).map(Full::new);
    let response = world.begin(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (mut body, mut text) = (response.into_body(), String::new());
    read_until(&mut body, &mut text, "payment-need-voucher").await;
    assert_eq!(text.matches("data: one").count(), 2);
    assert!(text.contains(r#""requiredCumulative":"3000""#), "{text}");

    // Half of the credential, and a body that is announced and does not come.
    let credential = session.top_up(&world, get(PATH), ADDED).await;
    let (half, rest) = credential.split_at(credential.len() / 2);
    let executed = world.executed().await;
    let mut by_head = TcpStream::connect(world.address()).await.unwrap();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: api\r\nauthorization: {half}");
    by_head.write_all(head.as_bytes()).await.unwrap();
    let mut by_body = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: api\r\nauthorization: {credential}\r\n\
         content-length: 100\r\n\r\nhalf"
    );
    by_body.write_all(head.as_bytes()).await.unwrap();

    // The stream ends by its own time, with its receipt.
    read_until(&mut body, &mut text, "payment-receipt").await;
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    assert_eq!(text.matches("data: one").count(), 2);
    assert!(text.contains(r#""spent":"2000""#), "{text}");
    assert_eq!(world.executed().await, executed, "nothing was claimed");
    let deposited = i128::try_from(DEPOSIT).unwrap();
    assert_eq!(world.spent().await, deposited);

    // Whole, it is what it always was.
    drop(by_body);
    let end = format!("{rest}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    by_head.write_all(end.as_bytes()).await.unwrap();
    let mut answer = String::new();
    by_head.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let added = i128::try_from(ADDED).unwrap();
    assert_eq!(world.spent().await, deposited + added);
    assert_eq!(world.executed().await, executed + 1);
    let more = paid(get(PATH), &session.pay(DEPOSIT + ADDED).await);
    let reply = world.ask(more).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let text = String::from_utf8_lossy(&reply.body);
    assert_eq!(text.matches("data: one").count(), 5, "{text}");
}
