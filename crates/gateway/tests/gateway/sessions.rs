//! Routes that sessions pay for, request by request.

use bytes::Bytes;
use http::{Request, StatusCode};
use stiver_core::problem::ProblemKind;
use stiver_method::session::VoucherScheme;

use crate::common::{
    World, get, paid, post,
    session::{Session, figure},
    upstream::Upstream,
};

/// One route that both kinds of payment pay, and one that sessions pay.
const ROUTES: &str = r#"
[sessions]
idle_close_s = 3600
settle_quiet_s = 600

[[route]]
path = "/v1/reading"
price = "0.001 USD per request"

[route.session]
suggested_deposit = "0.5 USD"
min_voucher = "0.0005 USD"

[[route]]
path = "/v1/kept"
price = "0.001 USD"
on_failure = "keep"

[route.session]

[[route]]
path = "/v1/order"
methods = ["POST"]
price = "0.001 USD"

[route.session]
"#;

/// What a request costs, base units.
const PRICE: u128 = 1_000;
/// What channels are opened with, base units.
const DEPOSIT: u128 = 10_000;

async fn world() -> World {
    World::configured(Upstream::start().await, "", ROUTES).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_be_paid_alone_or_by_a_session() {
    let world = world().await;
    let reply = world.ask(get("/v1/reading")).await;
    let charge = reply.challenge_for("charge");
    let session = reply.challenge_for("session");
    let asked = session.params.request.object().to_value();
    let text = |key: &str| asked.get(key).and_then(|value| value.as_str());
    assert_eq!(text("amount"), Some("1000"));
    assert_eq!(text("unitType"), Some("request"));
    assert_eq!(text("suggestedDeposit"), Some("500000"));
    let credential = world.credential(charge).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(world.spent().await, 1_000);

    let mut session = Session::prepare(&world, get("/v1/reading"), DEPOSIT, None).await;
    let reply = session.ask(&world, get("/v1/reading"), PRICE).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(
        world.spent().await,
        1_000 + 10_000,
        "the deposit is set aside"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_pays_for_what_was_served_and_the_rest_comes_back() {
    let world = world().await;
    for scheme in [None, Some(VoucherScheme::HashChain { step: PRICE })] {
        let before = world.spent().await;
        let served = world.upstream.seen().len();
        let mut session = Session::prepare(&world, get("/v1/reading"), DEPOSIT, scheme).await;
        for count in 1..=5 {
            let reply = session.ask(&world, get("/v1/reading"), count * PRICE).await;
            assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
            let receipt = reply.receipt().unwrap();
            assert_eq!(figure(&receipt, "acceptedCumulative"), count * PRICE);
            assert_eq!(figure(&receipt, "spent"), count * PRICE);
        }
        assert_eq!(world.upstream.seen().len(), served + 5);
        let seen = world.upstream.seen().pop().unwrap();
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");

        // Authorised, and never used.
        let unused = session.pay(7 * PRICE).await;
        let reply = world.ask(paid(post("/v1/reading", ""), &unused)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
        let close = session.close(7 * PRICE).await;
        let reply = world.ask(paid(get("/v1/reading"), &close)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
        assert_eq!(world.spent().await - before, 5_000, "only what was served");
        let reply = session.ask(&world, get("/v1/reading"), 8 * PRICE).await;
        let (kind, _) = reply.problem();
        assert_eq!(kind, ProblemKind::SessionChannelFinalized);
    }
    assert_eq!(world.upstream.seen().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_for_one_method_takes_vouchers_by_head_and_hands_no_head_on() {
    let world = world().await;
    let head = || Request::head("/v1/order").body(Bytes::new()).unwrap();
    let reply = world.ask(head()).await;
    assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{reply:?}");
    let asks = reply.headers.get_all("www-authenticate").iter();
    let asks: Vec<_> = asks.map(|line| line.to_str().unwrap()).collect();
    assert!(
        asks.iter().all(|line| !line.contains("\"charge\"")),
        "nothing is sold by it: {asks:?}"
    );
    let mut session = Session::prepare(&world, post("/v1/order", ""), DEPOSIT, None).await;
    let reply = session.ask(&world, post("/v1/order", "{}"), PRICE).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let served = world.upstream.seen().len();
    let update = session.pay(3 * PRICE).await;
    let reply = world.ask(paid(head(), &update)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    let receipt = reply.receipt().unwrap();
    assert_eq!(figure(&receipt, "acceptedCumulative"), 3 * PRICE);
    assert_eq!(figure(&receipt, "spent"), PRICE);
    assert_eq!(world.upstream.seen().len(), served);
    let reply = world.ask(get("/v1/order")).await;
    assert_eq!(
        reply.status,
        StatusCode::NOT_FOUND,
        "other methods find nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_upstream_costs_nothing_unless_the_route_keeps_it() {
    let world = world().await;
    let mut session = Session::prepare(&world, get("/v1/reading"), DEPOSIT, None).await;
    session.ask(&world, get("/v1/reading"), PRICE).await;
    world.upstream.set_broken(true);
    let reply = session.ask(&world, get("/v1/reading"), 2 * PRICE).await;
    assert_eq!(reply.problem().0, ProblemKind::UpstreamFailed);
    world.upstream.set_broken(false);
    // The same authorisation pays for the next.
    let reply = session
        .ask(&world, get("/v1/reading"), 2 * PRICE + 500)
        .await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), 2 * PRICE);

    let mut kept = Session::prepare(&world, get("/v1/kept"), DEPOSIT, None).await;
    kept.ask(&world, get("/v1/kept"), PRICE).await;
    world.upstream.set_broken(true);
    kept.ask(&world, get("/v1/kept"), 2 * PRICE).await;
    world.upstream.set_broken(false);
    let reply = kept.ask(&world, get("/v1/kept"), 3 * PRICE).await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), 3 * PRICE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_that_is_used_up_is_topped_up() {
    let world = world().await;
    let mut session = Session::prepare(&world, get("/v1/reading"), 2 * PRICE, None).await;
    session.ask(&world, get("/v1/reading"), PRICE).await;
    session.ask(&world, get("/v1/reading"), 2 * PRICE).await;
    let reply = session.ask(&world, get("/v1/reading"), 3 * PRICE).await;
    assert_eq!(reply.problem().0, ProblemKind::SessionAmountExceedsDeposit);
    let top_up = session.top_up(&world, get("/v1/reading"), PRICE).await;
    let reply = world.ask(paid(get("/v1/reading"), &top_up)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    let reply = session.ask(&world, get("/v1/reading"), 3 * PRICE).await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), 3 * PRICE);
    assert_eq!(world.spent().await, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_outlives_a_restart_and_the_route_that_it_was_opened_for() {
    let mut world = world().await;
    let mut session = Session::prepare(&world, get("/v1/reading"), DEPOSIT, None).await;
    session.ask(&world, get("/v1/reading"), PRICE).await;
    world.stop().await;
    world.start().await;
    let reply = session.ask(&world, get("/v1/reading"), 2 * PRICE).await;
    assert_eq!(figure(&reply.receipt().unwrap(), "spent"), 2 * PRICE);
    // No route offers sessions any more: the channel can still be closed.
    let text = std::fs::read_to_string(&world.config.file).unwrap();
    let head = text.split("[[route]]").next().unwrap();
    let routes = "[[route]]\npath = \"/v1/**\"\nprice = \"1 USD\"\n";
    let sessions = "[sessions]\nidle_close_s = 3600\nsettle_quiet_s = 600\n";
    std::fs::write(&world.config.file, format!("{head}\n{sessions}{routes}")).unwrap();
    world.running().reload().await.unwrap();
    let close = session.close(2 * PRICE).await;
    let reply = world.ask(paid(get("/v1/reading"), &close)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
    assert_eq!(world.spent().await, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_metrics_tell_what_is_in_channels() {
    let metrics = format!("{ROUTES}\n[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let world = World::configured(Upstream::start().await, "", &metrics).await;
    let mut session = Session::prepare(&world, get("/v1/reading"), DEPOSIT, None).await;
    session.ask(&world, get("/v1/reading"), 3 * PRICE).await;
    let voucher = session.pay(4 * PRICE).await;
    world.ask(paid(post("/v1/reading", ""), &voucher)).await;
    let status = world.admin("/v1/status").await;
    let sessions = &status["sessions"];
    assert_eq!(
        (&sessions["open"], &sessions["ended"]),
        (&1.into(), &0.into())
    );
    let held = |name: &str| sessions["held"][name]["units"].as_str().unwrap().to_owned();
    assert_eq!(held("deposit"), "10000");
    assert_eq!(held("accepted"), "4000");
    assert_eq!(held("spent"), "1000");
    assert_eq!(held("reserved"), "0");
    assert_eq!(held("unsettled"), "1000");
    let (_, metrics) = world.observe("/metrics").await;
    for row in [
        "stiver_channels_open 1",
        "stiver_channel_units{figure=\"deposit\",currency=\"usd\"} 10000",
        "stiver_channel_units{figure=\"unsettled\",currency=\"usd\"} 1000",
        "outcome=\"acknowledged\"",
    ] {
        assert!(metrics.contains(row), "{row}: {metrics}");
    }
    let close = session.close(4 * PRICE).await;
    world.ask(paid(get("/v1/reading"), &close)).await;
    let status = world.admin("/v1/status").await;
    assert_eq!(status["sessions"]["open"], 0);
    assert_eq!(status["sessions"]["ended"], 1);
    assert_eq!(status["sessions"]["held"]["deposit"]["units"], "0");
}
