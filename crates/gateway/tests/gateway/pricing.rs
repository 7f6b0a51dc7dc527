//! Prices by function, by hook and by quota, and settlement after the upstream, over real ledgers.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use stiver_core::problem::ProblemKind;

use crate::common::{Reply, World, get, paid, post, upstream::Upstream, with};

/// The tables of the pricing page: what stands there is what runs here.
fn documented(heading: &str) -> String {
    let page = include_str!("../../../../docs/pricing.md");
    let section = page.split(&format!("## {heading}\n")).nth(1);
    let section = section.expect("the page has such a section");
    let table = section.split("```toml\n").nth(1).unwrap();
    table.split("```").next().unwrap().to_owned()
}

/// The rows of the first table of a section of the pricing page.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = include_str!("../../../../docs/pricing.md");
    let section = page.split(&format!("## {heading}\n")).nth(1).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let lines = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let inner = line.trim_matches('|').split('|');
        inner
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    lines.skip(2).map(cells).collect()
}

async fn world(tables: &str) -> World {
    World::configured(Upstream::start().await, "", tables).await
}

fn json_post(target: &str, body: &str) -> Request<Bytes> {
    with(post(target, body), "content-type", "application/json")
}

/// The amount that the challenge of a request asks, base units.
async fn asked(world: &World, request: Request<Bytes>) -> String {
    let challenge = world.challenge(request).await;
    let request = challenge.params.request.object().to_value();
    let amount = request.get("amount").and_then(|value| value.as_str());
    amount.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_examples_of_prices_come_to_what_the_page_says() {
    let world = world(&documented("By function")).await;
    let mut seen = 0;
    for row in rows("By function") {
        let (body, units) = (&row[0], &row[1]);
        let units = units.replace(' ', "");
        assert_eq!(
            asked(&world, json_post("/v1/complete", body)).await,
            units,
            "{body}"
        );
        seen += 1;
    }
    assert!(seen >= 5, "{seen} rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priced_body_is_paid_for_and_reaches_the_upstream() {
    let world = world(&documented("By function")).await;
    let ask = || json_post("/v1/complete", r#"{"model":"small","max_tokens":1000}"#);
    let credential = world.pay(ask()).await;
    world.ask(paid(ask(), &credential)).await.assert_paid();
    assert_eq!(world.spent().await, 21_000);
    let seen = world.upstream.seen();
    assert_eq!(seen[0].body, ask().into_body());
    let dear = json_post("/v1/complete", r#"{"model":"large","max_tokens":9000}"#);
    let credential = world.pay(ask()).await;
    let (kind, _) = world.ask(paid(dear, &credential)).await.problem();
    assert_eq!(kind, ProblemKind::InvalidChallenge);
    assert_eq!(
        world.spent().await,
        21_000,
        "a cheap challenge buys nothing dear"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_without_a_price_is_told_what_to_mend_and_changes_nothing() {
    let world = world(&documented("By function")).await;
    let before = world.executed().await;
    for (body, says) in [
        (r#"{"model":"small","max_tokens":-1}"#, "unsigned integer"),
        (
            r#"{"model":"small","max_tokens":1,"max_tokens":9}"#,
            "more than once",
        ),
        (r#"{"model":"huge"}"#, "one of large, small"),
        ("{", "not valid JSON"),
    ] {
        let reply = world.ask(json_post("/v1/complete", body)).await;
        let (kind, detail) = reply.problem();
        assert_eq!(kind, ProblemKind::BadRequest, "{body}");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let untyped = post("/v1/complete", r#"{"model":"small"}"#);
    let (_, detail) = world.ask(untyped).await.problem();
    assert!(
        detail.contains("Content-Type: application/json"),
        "{detail}"
    );
    assert_eq!(world.executed().await, before);
    assert!(world.upstream.seen().is_empty());
}

const BY_HEADER: &str = r#"
[[route]]
path = "/v1/units"
[route.pricing]
base = "0.001 USD"
cap = "1 USD"
terms = [{ header = "x-units", amount = "0.001 USD" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_that_changes_after_the_challenge_is_no_discount() {
    let world = world(BY_HEADER).await;
    let ask = |units: &str| with(get("/v1/units"), "x-units", units);
    assert_eq!(asked(&world, ask("2")).await, "3000");
    let credential = world.pay(ask("2")).await;
    let reply = world.ask(paid(ask("200"), &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::InvalidChallenge);
    let fresh = reply.challenge().params.request.object().to_value();
    assert_eq!(fresh.get("amount").unwrap().as_str(), Some("201000"));
    assert_eq!(world.spent().await, 0);
    world.ask(paid(ask("2"), &credential)).await.assert_paid();
    assert_eq!(world.spent().await, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_run_of_a_cheap_header_is_not_gone_on_with_by_a_dear_one() {
    let world = world(BY_HEADER).await;
    let ask = |units: &str| with(get("/v1/units"), "x-units", units);
    let credential = world.pay(ask("1")).await;
    world.upstream.set_broken(true);
    let reply = world.ask(paid(ask("1"), &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed);
    world.upstream.set_broken(false);
    let reply = world.ask(paid(ask("999"), &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::InvalidChallenge);
    assert_eq!(world.upstream.seen().len(), 1);
    world.ask(paid(ask("1"), &credential)).await.assert_paid();
    assert_eq!(world.spent().await, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_request_is_read_as_strictly_as_the_unpaid_one() {
    let json = r#"
[[route]]
path = "/v1/json"
[route.pricing]
base = "0.001 USD"
cap = "1 USD"
terms = [{ json = "/n", default = 1, amount = "0.001 USD" }]
"#;
    let world = world(&format!("{BY_HEADER}{json}")).await;
    let ask = || with(get("/v1/units"), "x-units", "1");
    let credential = world.pay(ask()).await;
    let reply = world.ask(with(paid(ask(), &credential), "x_units", "999"));
    assert_eq!(reply.await.problem().0, ProblemKind::BadRequest);
    let ask = || json_post("/v1/json", "{\"n\":1}");
    let credential = world.pay(ask()).await;
    let as_form = post("/v1/json", "{\"n\":1}");
    let as_form = with(as_form, "content-type", "application/x-www-form-urlencoded");
    let reply = world.ask(paid(as_form, &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::BadRequest);
    let packed = with(paid(ask(), &credential), "content-encoding", "br");
    assert_eq!(world.ask(packed).await.problem().0, ProblemKind::BadRequest);
    let other = post("/v1/json", "{\"n\":1}");
    let other = with(other, "content-type", "application/merge-patch+json");
    let reply = world.ask(paid(other, &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::InvalidChallenge);
    assert!(world.upstream.seen().is_empty());
    world.ask(paid(ask(), &credential)).await.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_that_the_connection_keeps_is_not_priced() {
    let world = world(BY_HEADER).await;
    let ask = || with(get("/v1/units"), "x-units", "5");
    let of_the_hop = || with(ask(), "connection", "x-units");
    let reply = world.ask(of_the_hop()).await.problem();
    assert_eq!(reply.0, ProblemKind::BadRequest, "{}", reply.1);
    let credential = world.pay(ask()).await;
    let reply = world.ask(paid(of_the_hop(), &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::BadRequest);
    assert!(world.upstream.seen().is_empty());
}

/// A pricing service that remembers what it was asked, and gives one answer.
#[derive(Clone)]
struct Service {
    asked: Arc<Mutex<Vec<Value>>>,
    answer: Arc<Mutex<(StatusCode, String)>>,
}

impl Service {
    fn start() -> (Self, Upstream) {
        let service = Self {
            asked: Arc::default(),
            answer: Arc::new(Mutex::new((StatusCode::OK, "{\"free\":true}".to_owned()))),
        };
        let answer = |State(service): State<Self>, body: Bytes| async move {
            let asked = serde_json::from_slice(&body).unwrap();
            service.asked.lock().unwrap().push(asked);
            let (status, text) = service.answer.lock().unwrap().clone();
            Response::builder()
                .status(status)
                .body(Body::from(text))
                .unwrap()
        };
        let router = Router::new().fallback(answer).with_state(service.clone());
        (service, Upstream::serving(router))
    }

    fn answer(&self, status: u16, text: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        *self.answer.lock().unwrap() = (status, text.to_owned());
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

fn by_hook(at: &str, on_failure: &str) -> String {
    format!(
        r#"
[[route]]
path = "/v1/**"
[route.pricing]
cap = "0.05 USD"
hook = {{ url = "{at}", timeout_ms = 30000, on_failure = "{on_failure}", headers = ["x-tier"] }}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_is_asked_once_for_each_unpaid_request_and_never_for_a_paid_one() {
    let (service, hook) = Service::start();
    let at = format!("http://{}/price", hook.address);
    let world = world(&by_hook(&at, "deny")).await;
    service.answer(200, r#"{"amount":"12000","currency":"usd"}"#);
    let ask = || {
        let request = with(post("/v1/a?b=c", "body"), "x-tier", "gold");
        with(
            with(request, "cookie", "secret"),
            "authorization",
            "Basic c2VjcmV0",
        )
    };
    let credential = world.pay(ask()).await;
    let question = service.asked().remove(0);
    assert_eq!(
        question,
        json!({
            "method": "POST",
            "path": "/v1/a",
            "query": "b=c",
            "headers": [["x-tier", "gold"]],
            "bodySize": 4,
            "digest": stiver_core::digest::BodyDigest::of(b"body").to_header(),
        }),
        "and no credential"
    );
    service.answer(200, r#"{"amount":"50000","currency":"usd"}"#);
    let keyed = || with(paid(ask(), &credential), "idempotency-key", "k");
    for _ in 0..2 {
        world.ask(keyed()).await.assert_paid();
    }
    assert_eq!(service.asked().len(), 1);
    assert_eq!(world.spent().await, 12_000, "what the challenge said");
    let credential = world.pay(ask()).await;
    let mut other = paid(ask(), &credential);
    let tier = http::HeaderValue::from_static("lead");
    other.headers_mut().insert("x-tier", tier);
    let (kind, _) = world.ask(other).await.problem();
    assert_eq!(kind, ProblemKind::InvalidChallenge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_frees_denies_and_is_held_to_the_cap() {
    let (service, hook) = Service::start();
    let at = format!("http://{}", hook.address);
    let world = world(&by_hook(&at, "deny")).await;
    assert_eq!(world.ask(get("/v1/a")).await.status, StatusCode::OK);
    service.answer(200, r#"{"deny":{"status":403,"detail":"not for you"}}"#);
    let denied = world.ask(get("/v1/a")).await.problem();
    assert_eq!(denied, (ProblemKind::Forbidden, "not for you".to_owned()));
    service.answer(200, r#"{"amount":"99000000","currency":"usd"}"#);
    assert_eq!(asked(&world, get("/v1/a")).await, "50000");
    assert_eq!(world.upstream.seen().len(), 1);
}

fn is_unavailable(reply: &Reply) {
    let (kind, detail) = reply.problem();
    assert_eq!(kind, ProblemKind::Unavailable);
    assert!(detail.contains("nothing was taken"), "{detail}");
    assert!(reply.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_that_fails_denies_or_costs_the_cap() {
    let (service, hook) = Service::start();
    let at = format!("http://{}", hook.address);
    let failures = [
        (500, r#"{"free":true}"#.to_owned()),
        (200, "free".to_owned()),
        (200, r#"{"amount":"1","currency":"eur"}"#.to_owned()),
        (200, " ".repeat(17 * 1024) + r#"{"free":true}"#),
    ];
    let denying = world(&by_hook(&at, "deny")).await;
    for (status, text) in &failures {
        service.answer(*status, text);
        is_unavailable(&denying.ask(get("/v1/a")).await);
    }
    let capped = world(&by_hook(&at, "cap")).await;
    for (status, text) in &failures {
        service.answer(*status, text);
        assert_eq!(asked(&capped, get("/v1/a")).await, "50000");
    }
    assert!(denying.upstream.seen().is_empty());
    assert!(capped.upstream.seen().is_empty());
    let gone = Upstream::down();
    let nobody = world(&by_hook(&format!("http://{}", gone.address), "deny")).await;
    is_unavailable(&nobody.ask(get("/v1/a")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_that_does_not_answer_in_time_has_failed() {
    let slow = Upstream::start().await;
    slow.set_slow();
    let tables = by_hook(&format!("http://{}", slow.address), "deny");
    let world = world(&tables.replace("30000", "50")).await;
    is_unavailable(&world.ask(get("/v1/a")).await);
    slow.arrived().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_quota_is_used_up_and_then_the_route_is_paid_for() {
    let world = world(&documented("Free requests")).await;
    for left in ["2", "1", "0"] {
        let reply = world.ask(get("/v1/reading")).await;
        assert_eq!(reply.status, StatusCode::OK);
        let told = reply.header("ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"free\";r={left};t=")), "{told}");
        let policy = reply.header("ratelimit-policy");
        assert_eq!(policy, Some("\"free\";q=3;w=86400"));
        assert!(reply.receipt().is_none());
    }
    let credential = world.pay(get("/v1/reading")).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    assert!(reply.header("ratelimit").is_none());
    assert_eq!(world.upstream.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_pays_uses_no_free_one() {
    let world = world(&documented("Free requests")).await;
    let malformed = world.ask(paid(get("/v1/reading"), "Payment e30")).await;
    assert_eq!(malformed.problem().0, ProblemKind::MalformedCredential);
    let reply = world.ask(get("/v1/reading")).await;
    assert!(reply.header("ratelimit").unwrap().contains("r=2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_quota_is_of_the_client_behind_a_trusted_proxy_and_nobody_else_may_name_one() {
    let tables = documented("Free requests").replace("requests = 3", "requests = 1");
    let from = |client: &str| with(get("/v1/reading"), "x-forwarded-for", client);
    let trusting = "trusted_proxies = [\"127.0.0.1/32\"]";
    let world = World::configured(Upstream::start().await, trusting, &tables).await;
    for (client, status) in [
        ("192.0.2.1", StatusCode::OK),
        ("192.0.2.2", StatusCode::OK),
        ("192.0.2.1", StatusCode::PAYMENT_REQUIRED),
        ("192.0.2.9, 192.0.2.2", StatusCode::PAYMENT_REQUIRED),
    ] {
        assert_eq!(world.ask(from(client)).await.status, status, "{client}");
    }
    let world = World::configured(Upstream::start().await, "", &tables).await;
    for (client, status) in [
        ("192.0.2.1", StatusCode::OK),
        ("192.0.2.2", StatusCode::PAYMENT_REQUIRED),
    ] {
        assert_eq!(world.ask(from(client)).await.status, status, "{client}");
    }
}

const AFTER: &str = r#"
[[route]]
path = "/v1/**"
price = "0.001 USD"
settle = "after"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlement_follows_the_upstream_and_failures_take_nothing() {
    let world = world(AFTER).await;
    let credential = world.pay(get("/v1/reading")).await;
    world.upstream.set_broken(true);
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    let (kind, detail) = reply.problem();
    assert_eq!(kind, ProblemKind::UpstreamFailed);
    assert!(detail.contains("nothing was taken"), "{detail}");
    assert_eq!(world.spent().await, 0);
    world.upstream.set_broken(false);
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    assert_eq!(&*reply.body, b"{\"answer\":2}");
    assert_eq!(world.spent().await, 1_000);
    assert_eq!(world.movements().await, ["transfer", "mint"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_while_the_upstream_works() {
    let world = world(AFTER).await;
    let credential = world.pay(get("/v1/reading")).await;
    world.upstream.set_slow();
    let work = world.ask(paid(get("/v1/reading"), &credential));
    let watch = async {
        world.upstream.arrived().await;
        let spent = world.spent().await;
        world.upstream.release();
        spent
    };
    let (reply, spent) = tokio::join!(work, watch);
    reply.assert_paid();
    assert_eq!((spent, world.spent().await), (0, 1_000));
}

const SHADOWED: &str = r#"
[[route]]
path = "/v1/reading"
price = "0.001 USD"
free_quota = { requests = 1, per = "day" }

[[route]]
path = "/v1/**"
[route.pricing]
base = "0.001 USD"
cap = "1 USD"
terms = [{ json = "/n", amount = "0.001 USD" }]

[[route]]
path = "/charged"
price = "0.001 USD"
shadow = false
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadow_mode_lets_everything_pass_and_tells_what_it_would_cost() {
    let told = "shadow = true\nshadow_header = true\n";
    let world = World::configured(Upstream::start().await, told, SHADOWED).await;
    let before = world.executed().await;
    let credential = world.pay(get("/charged")).await;
    let long = format!("{{\"n\":5,\"pad\":\"{}\"}}", "x".repeat(5_000));
    for (request, says) in [
        (get("/v1/reading"), "would-charge=\"0.001 USD\""),
        (get("/v1/reading"), "would-charge=\"0.001 USD\""),
        (
            paid(get("/v1/reading"), &credential),
            "would-charge=\"0.001 USD\"",
        ),
        (
            paid(get("/v1/reading"), "Payment e30"),
            "would-charge=\"0.001 USD\"",
        ),
        (
            json_post("/v1/n", "{\"n\":5}"),
            "would-charge=\"0.006 USD\"",
        ),
        (
            json_post("/v1/n", "{\"n\":-5}"),
            "would-refuse=\"bad-request\"",
        ),
        (json_post("/v1/n", &long), "would-refuse=\"bad-request\""),
    ] {
        let target = request.uri().to_string();
        let sent = request.body().clone();
        let reply = world.ask(request).await;
        assert_eq!(reply.status, StatusCode::OK, "{target}");
        assert!(
            reply
                .header("stiver-shadow")
                .unwrap()
                .eq_ignore_ascii_case(says),
            "{target}: {reply:?}"
        );
        for absent in ["www-authenticate", "payment-receipt", "ratelimit"] {
            assert_eq!(reply.header(absent), None, "{target}");
        }
        assert_eq!(reply.header("cache-control"), Some("public, max-age=60"));
        let seen = world.upstream.seen().pop().unwrap();
        assert!(!seen.headers.contains_key("authorization"), "{target}");
        assert_eq!(seen.body, sent, "{target}");
    }
    assert_eq!(world.executed().await, before);
    assert_eq!(world.spent().await, 0);
    let reply = world.ask(paid(get("/charged"), &credential)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shadow_mode_is_silent_unless_told_otherwise() {
    let world = World::configured(Upstream::start().await, "shadow = true\n", SHADOWED).await;
    let reply = world.ask(get("/v1/reading")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("stiver-shadow"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_room_at_the_hook_for_who_was_asked_to_pay_before() {
    let strangers =
        stiver_gateway::pricing::hook::CONCURRENT_MAX - stiver_gateway::pricing::hook::RESERVED;
    let slow = Upstream::start().await;
    let tables = by_hook(&format!("http://{}", slow.address), "cap");
    let world = world(&tables).await;
    // What it answers is no price, and so every request costs the cap.
    let credential = world.pay(get("/v1/a")).await;
    slow.set_slow();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..strangers {
        asking.spawn(crate::common::ask_at(world.address(), get("/v1/a")));
    }
    for _ in 0..strangers {
        slow.arrived().await;
    }
    let asked = slow.seen().len();
    let reply = world.ask(get("/v1/a")).await;
    assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "at the cap");
    assert_eq!(slow.seen().len(), asked, "the hook is not asked");
    // The credential is for another path: it needs a new challenge, and the hook's price.
    let other = world.ask(paid(get("/v1/b"), &credential));
    let releasing = async {
        slow.arrived().await;
        for _ in 0..=strangers {
            slow.release();
        }
    };
    let (reply, ()) = tokio::join!(other, releasing);
    assert_eq!(reply.problem().0, ProblemKind::InvalidChallenge);
    for reply in asking.join_all().await {
        assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED);
    }
}
