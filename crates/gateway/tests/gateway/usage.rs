//! What upstreams report of their own use: tokens in odd shapes, energy, and what has no words for
//! it but a header.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
    routing::get as on_get,
};
use http::StatusCode;
use stiver_core::problem::ProblemKind;

use crate::common::{
    Reply, World, get, paid,
    session::{Session, figure},
    upstream::Upstream,
};

const ROUTES: &str = r#"
[[route]]
path = "/v1/chat/**"
price = "0.000002 USD per token"

[route.session]
window = "0.0001 USD"

[[route]]
path = "/v1/header"
price = "0.000002 USD per token"

[route.session]
window = "0.0001 USD"
usage = { token = { header = "X-Usage-Tokens" } }

[[route]]
path = "/v1/charge"
prices = ["0.25 USD per kWh", "0.00001 USD per event"]

[route.session]
window = "0.05 USD"

[route.session.usage]
kWh = { json = "/meter/wh", in = "Wh", adds = true }

[[route]]
path = "/v1/tiny"
price = "0.0000004 USD per request"
"#;
const DEPOSIT: u128 = 1_000_000;

fn stream(events: &[&str]) -> Response {
    let text: String = events.iter().map(|it| format!("data: {it}\n\n")).collect();
    ([("content-type", "text/event-stream")], Body::from(text)).into_response()
}

/// Chunks as OpenAI-style servers send them with `stream_options.include_usage`.
const CHUNK: &str = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"w"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const CACHED: &str = r#"{"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":40,"completion_tokens":3,"total_tokens":43,"prompt_tokens_details":{"cached_tokens":32,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1}}}"#;
const BROKEN: &str = r#"{"choices":[],"usage":{"total_tokens":-5}}"#;

async fn world() -> World {
    let header = |tokens: &'static str| {
        let fields = [("content-type", "text/plain"), ("x-usage-tokens", tokens)];
        (fields, "an answer")
    };
    let router = Router::new()
        .route(
            "/v1/chat/tail",
            on_get(async || stream(&[CHUNK, CHUNK, CHUNK, STOP, CACHED, "[DONE]"])),
        )
        .route(
            "/v1/chat/missing",
            on_get(async || stream(&[CHUNK, CHUNK, CHUNK, STOP, "[DONE]"])),
        )
        .route(
            "/v1/chat/broken",
            on_get(async || stream(&[CHUNK, CHUNK, BROKEN, "[DONE]"])),
        )
        .route("/v1/header", on_get(async move || header("30")))
        .route(
            "/v1/charge",
            on_get(async || {
                stream(&[
                    r#"{"meter":{"wh":120.5}}"#,
                    r#"{"meter":{"wh":"79.5"}}"#,
                    r#"{"meter":{"wh":-80}}"#,
                    r#"{"state":"full"}"#,
                ])
            }),
        )
        .route("/v1/tiny", on_get(async || "."));
    World::configured(Upstream::serving(router), "", ROUTES).await
}

/// What one answer to a generous voucher costs.
async fn cost(world: &World, path: &str) -> (Reply, u128) {
    let mut session = Session::prepare(world, get(path), DEPOSIT, None).await;
    let before = world.spent().await;
    let reply = session.ask(world, get(path), 100_000).await;
    let close = session.close(100_000).await;
    let closed = world.ask(paid(get(path), &close)).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    let spent = world.spent().await - before;
    (reply, spent.unsigned_abs())
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_of_a_stream_says_its_tokens_cached_ones_included() {
    let world = world().await;
    let (reply, cost) = cost(&world, "/v1/chat/tail").await;
    assert_eq!(cost, 43 * 2, "{}", text(&reply));
    assert!(
        text(&reply).contains("cached_tokens"),
        "it is passed on as it is"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_usage_or_with_nonsense_costs_what_was_counted() {
    let world = world().await;
    assert_eq!(cost(&world, "/v1/chat/missing").await.1, 3 * 2);
    assert_eq!(cost(&world, "/v1/chat/broken").await.1, 2 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_says_it_before_the_body_and_what_is_not_covered_is_not_delivered() {
    let world = world().await;
    let mut session = Session::prepare(&world, get("/v1/header"), DEPOSIT, None).await;
    let short = session.ask(&world, get("/v1/header"), 100).await;
    assert_eq!(short.status, StatusCode::OK, "60 of 100: {short:?}");
    let short = session.ask(&world, get("/v1/header"), 119).await;
    assert_eq!(short.problem().0, ProblemKind::SessionInsufficientBalance);
    let reply = session.ask(&world, get("/v1/header"), 160).await;
    assert_eq!(
        (reply.status, &*text(&reply)),
        (StatusCode::OK, "an answer")
    );
    let close = session.close(160).await;
    world.ask(paid(get("/v1/header"), &close)).await;
    assert_eq!(world.spent().await, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_in_watt_hours_are_paid_by_the_kilowatt_hour() {
    let world = world().await;
    let (reply, cost) = cost(&world, "/v1/charge").await;
    // 0.2 kWh at 250 000 base units, and four events at 10; what goes back is no reading.
    assert_eq!(cost, 50_000 + 40, "{}", text(&reply));
    assert!(
        text(&reply).contains(r#""units":{"event":"4","kWh":"0.2"}"#),
        "{}",
        text(&reply)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_requests_at_two_fifths_of_a_base_unit_cost_two_over_a_restart_too() {
    let mut world = world().await;
    let path = "/v1/tiny";
    let mut session = Session::prepare(&world, get(path), DEPOSIT, None).await;
    assert_eq!(session.asked("amount").as_deref(), Some("2"));
    assert_eq!(session.asked("unitCount").as_deref(), Some("5"));
    for n in 1..=10_u128 {
        if n == 4 {
            world.stop().await;
            world.start().await;
        }
        let reply = session.ask(&world, get(path), (n - 1) * 2 / 5 + 1).await;
        let receipt = reply.receipt().unwrap_or_else(|| panic!("{n}: {reply:?}"));
        assert_eq!(
            (reply.status, figure(&receipt, "spent")),
            (StatusCode::OK, n * 2 / 5)
        );
    }
    let close = session.close(4).await;
    world.ask(paid(get(path), &close)).await;
    assert_eq!(world.spent().await, 4, "the books are exact");
}
