//! A language model behind the gateway, paid by the token.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Json, Router, body::Body, response::Response, routing::post as on_post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use stiver_core::problem::ProblemKind;

use crate::common::{
    World, get, paid, post,
    session::{Session, figure},
    upstream::Upstream,
    with,
};

/// Base units for a token: less than one for each.
const ROUTES: &str = r#"
[[route]]
path = "/v1/chat/completions"
methods = ["POST"]
price = "0.0000015 USD per token"

[route.session]
window = "0.00003 USD"
suggested_deposit = "0.5 USD"

[[route]]
path = "/v1/zipped"
price = "0.000002 USD per token"

[route.session]
window = "0.00003 USD"
"#;

/// Content events of a stream.
const WORDS: u64 = 60;
/// Tokens of a prompt.
const PROMPT: u64 = 17;
/// What channels are opened with, base units.
const DEPOSIT: u128 = 100_000;
const PATH: &str = "/v1/chat/completions";

/// What a chat costs: 1.5 base units a token, the fraction not rounded away but carried.
fn price_of(tokens: u64) -> u128 {
    u128::from(tokens) * 15 / 10
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// Answers as servers of language models do.
async fn chat(Json(asked): Json<Value>) -> Response {
    let usage = json!({
        "prompt_tokens": PROMPT,
        "completion_tokens": WORDS,
        "total_tokens": PROMPT + WORDS,
    });
    if asked["stream"] != true {
        let message = json!({ "role": "assistant", "content": "word ".repeat(60) });
        let answer = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": asked["model"],
            "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
            "usage": usage,
        });
        return Response::builder()
            .header("content-type", "application/json")
            .body(Body::from(answer.to_string()))
            .unwrap();
    }
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        event(&json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": asked["model"],
            "choices": [choice], "usage": null,
        }))
    };
    let mut text = chunk(json!({ "role": "assistant", "content": "" }), Value::Null);
    for word in 0..WORDS {
        text += &chunk(json!({ "content": format!("word{word} ") }), Value::Null);
    }
    text += &chunk(json!({}), json!("stop"));
    text += &event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": asked["model"],
        "choices": [], "usage": usage,
    }));
    text += "data: [DONE]\n\n";
    // Cut in odd places, as networks do.
    let pieces: VecDeque<Bytes> = text
        .as_bytes()
        .chunks(97)
        .map(Bytes::copy_from_slice)
        .collect();
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(Body::new(Pieces(pieces)))
        .unwrap()
}

/// A body that comes in pieces.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

async fn world() -> World {
    let zipped = || async { ([("content-encoding", "gzip")], "?") };
    let router = Router::new()
        .route(PATH, on_post(chat))
        .route("/v1/zipped", axum::routing::get(zipped));
    World::configured(Upstream::serving(router), "", ROUTES).await
}

fn ask(stream: bool) -> Request<Bytes> {
    let body = json!({ "model": "small", "stream": stream, "messages": [] });
    with(
        post(PATH, &body.to_string()),
        "content-type",
        "application/json",
    )
}

/// One stream, read to its end: vouchers are sent when they are asked for. What it said, how much
/// was authorised at the end, and how often it asked.
async fn read(world: &World, session: &mut Session, mut signed: u128) -> (String, u128, u32) {
    let request = paid(ask(true), &session.pay(signed).await);
    let mut response = world.begin(request.map(Full::new)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (mut text, mut seen, mut asked) = (String::new(), 0, 0);
    while let Some(frame) = response.body_mut().frame().await {
        let Ok(data) = frame.unwrap().into_data() else {
            continue;
        };
        text.push_str(std::str::from_utf8(&data).unwrap());
        while let Some(end) = text[seen..].find("\n\n") {
            let event = &text[seen..seen + end];
            seen += end + 2;
            if let Some(need) = event.strip_prefix("event: payment-need-voucher\ndata: ") {
                let need: Value = serde_json::from_str(need).unwrap();
                let required: u128 = need["requiredCumulative"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert!(required > signed, "{need}");
                assert!(
                    required - signed <= 60,
                    "asks for two windows at most: {need}"
                );
                signed = required;
                asked += 1;
                let mut update = Request::head(PATH).body(Bytes::new()).unwrap();
                let credential = session.pay(signed).await;
                update = paid(update, &credential);
                let reply = world.ask(update).await;
                assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
            }
        }
    }
    (text, signed, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_paid_by_the_tokens_that_its_tail_reports() {
    let world = world().await;
    let mut session = Session::prepare(&world, ask(true), DEPOSIT, None).await;
    let (text, signed, asked) = read(&world, &mut session, 30).await;
    assert!(asked > 1, "{asked}");
    for word in 0..WORDS {
        assert!(text.contains(&format!("word{word} ")), "{text}");
    }
    let receipt = text.split("event: payment-receipt\ndata: ").nth(1).unwrap();
    let receipt: Value = serde_json::from_str(receipt.lines().next().unwrap()).unwrap();
    let cost = price_of(PROMPT + WORDS);
    assert_eq!(receipt["spent"], cost.to_string());
    assert_eq!(receipt["units"], (PROMPT + WORDS).to_string());
    assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    assert!(signed >= cost && signed - cost <= 30, "{signed} for {cost}");

    let close = session.close(signed).await;
    let reply = world.ask(paid(ask(true), &close)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    assert_eq!(world.spent().await.unsigned_abs(), cost, "the books agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_pays_for_what_it_got_and_no_more() {
    let world = world().await;
    let mut session = Session::prepare(&world, ask(true), DEPOSIT, None).await;
    let request = paid(ask(true), &session.pay(30).await);
    let mut response = world.begin(request.map(Full::new)).await;
    let mut text = String::new();
    while !text.contains("payment-need-voucher") {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    drop(response);
    assert_eq!(text.matches("word").count(), 20, "{text}");
    let close = session.close(30).await;
    let reply = world.ask(paid(ask(true), &close)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    assert_eq!(world.spent().await.unsigned_abs(), price_of(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_that_changes_holds_for_the_challenges_that_are_out() {
    let world = world().await;
    let mut before = Session::prepare(&world, ask(false), DEPOSIT, None).await;
    let text = std::fs::read_to_string(&world.config.file).unwrap();
    let head = text.split("[[route]]").next().unwrap();
    let dearer = ROUTES.replace("0.0000015 USD", "0.000003 USD");
    std::fs::write(&world.config.file, format!("{head}\n{dearer}")).unwrap();
    world.running().reload().await.unwrap();
    let cost = price_of(PROMPT + WORDS);
    let reply = before.ask(&world, ask(false), cost).await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), cost);
    let mut after = Session::prepare(&world, ask(false), DEPOSIT, None).await;
    let dearer = u128::from(PROMPT + WORDS) * 3;
    let reply = after.ask(&world, ask(false), dearer).await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), dearer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_its_price_while_it_changes_and_its_channel_goes_on_at_the_new_one() {
    let world = world().await;
    let mut session = Session::prepare(&world, ask(true), DEPOSIT, None).await;
    assert_eq!(session.asked("window").as_deref(), Some("30"));
    let request = paid(ask(true), &session.pay(30).await);
    let mut response = world.begin(request.map(Full::new)).await;
    let mut text = String::new();
    while !text.contains("payment-need-voucher") {
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    // It waits, and meanwhile everything becomes twice as dear.
    let file = std::fs::read_to_string(&world.config.file).unwrap();
    let head = file.split("[[route]]").next().unwrap();
    let dearer = ROUTES.replace("0.0000015 USD", "0.000003 USD");
    std::fs::write(&world.config.file, format!("{head}\n{dearer}")).unwrap();
    world.running().reload().await.unwrap();
    let cost = price_of(PROMPT + WORDS);
    let update = Request::head(PATH).body(Bytes::new()).unwrap();
    let update = paid(update, &session.pay(cost).await);
    assert_eq!(world.ask(update).await.status, StatusCode::NO_CONTENT);
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    let rest = std::str::from_utf8(&rest).unwrap();
    assert!(
        rest.contains(&format!("\"spent\":\"{cost}\"")),
        "as it was quoted: {rest}"
    );

    // The same channel, by a challenge of now: the new price, and what was carried is not lost.
    session.renew(&world, ask(false)).await;
    assert_eq!(session.asked("amount").as_deref(), Some("3"));
    assert_eq!(session.asked("unitCount"), None);
    let dearer = u128::from(PROMPT + WORDS) * 3;
    let short = session.ask(&world, ask(false), cost + dearer - 1).await;
    assert_eq!(short.problem().0, ProblemKind::SessionInsufficientBalance);
    let reply = session.ask(&world, ask(false), cost + dearer).await;
    let receipt = reply.receipt().unwrap();
    assert_eq!(figure(&receipt, "spent"), cost + dearer);
    // Half a base unit of the first, at 1.5 for each of 77.
    assert_eq!(receipt.extra["carried"].to_jcs(), r#"{"token":"1/2"}"#);
    let close = session.close(cost + dearer).await;
    world.ask(paid(ask(false), &close)).await;
    assert_eq!(
        world.spent().await.unsigned_abs(),
        cost + dearer,
        "the books are exact"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_is_paid_by_the_tokens_in_it() {
    let world = world().await;
    let mut session = Session::prepare(&world, ask(false), DEPOSIT, None).await;
    let cost = price_of(PROMPT + WORDS);
    // What it will cost is not known before: a voucher that is too small says what is missing.
    let reply = session.ask(&world, ask(false), 30).await;
    assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{reply:?}");
    assert_eq!(reply.problem().0, ProblemKind::SessionInsufficientBalance);
    let reply = session.ask(&world, ask(false), cost).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["usage"]["total_tokens"], PROMPT + WORDS);
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), cost);
    let close = session.close(cost).await;
    world.ask(paid(ask(false), &close)).await;
    assert_eq!(world.spent().await.unsigned_abs(), cost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_sessions_pay_by_the_token_and_they_are_told_the_exact_price() {
    let world = world().await;
    let reply = world.ask(ask(true)).await;
    let challenge = reply.challenge();
    assert_eq!(challenge.params.intent.as_str(), "session");
    let asked = challenge.params.request.object().to_value();
    let text = |key: &str| asked.get(key).and_then(|value| value.as_str());
    assert_eq!(
        (text("amount"), text("unitType")),
        (Some("3"), Some("token"))
    );
    let details = asked.get("methodDetails").unwrap();
    assert_eq!(
        details.get("unitCount").and_then(|it| it.as_str()),
        Some("2")
    );
    let openapi = world.ask(get("/openapi.json")).await;
    let openapi = String::from_utf8(openapi.body.to_vec()).unwrap();
    assert!(openapi.contains("0.0000015 USD per token"), "{openapi}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_read_is_not_delivered_and_costs_nothing() {
    let world = world().await;
    let mut session = Session::prepare(&world, get("/v1/zipped"), DEPOSIT, None).await;
    let reply = session.ask(&world, get("/v1/zipped"), 1_000).await;
    assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed);
    let close = session.close(1_000).await;
    world.ask(paid(get("/v1/zipped"), &close)).await;
    assert_eq!(world.spent().await, 0);
}
