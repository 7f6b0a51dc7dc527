//! What becomes of a payment when the API behind the gateway fails.

use http::StatusCode;
use stiver_core::problem::ProblemKind;

use crate::common::{ORDER, READING, World, get, paid, post, upstream::Upstream, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_credential_is_served_once_the_api_is_up_with_one_movement() {
    let world = World::with(Upstream::down()).await;
    let credential = world.pay(post("/v1/order", "x")).await;
    let ask = || world.ask(paid(post("/v1/order", "x"), &credential));
    let failed = ask().await;
    let (kind, detail) = failed.problem();
    assert_eq!(kind, ProblemKind::UpstreamFailed);
    assert!(
        detail.contains("send the same credential again"),
        "{detail}"
    );
    assert!(failed.header("retry-after").is_some());
    assert_eq!(
        failed.header("www-authenticate"),
        None,
        "nobody is to pay again"
    );
    assert_eq!(world.spent().await, ORDER);
    world.upstream.up();
    ask().await.assert_paid();
    assert_eq!(world.spent().await, ORDER);
    assert_eq!(world.movements().await, ["transfer", "mint"]);
    assert_eq!(ask().await.problem().0, ProblemKind::InvalidChallenge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_gets_the_same_idempotency_key_on_every_try() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    world.upstream.set_broken(true);
    let ask = || world.ask(paid(get("/v1/reading"), &credential));
    assert_eq!(ask().await.problem().0, ProblemKind::UpstreamFailed);
    world.upstream.set_broken(false);
    ask().await.assert_paid();
    let other = world.pay(get("/v1/reading")).await;
    world
        .ask(paid(get("/v1/reading"), &other))
        .await
        .assert_paid();
    let keys: Vec<_> = world
        .upstream
        .seen()
        .iter()
        .map(|seen| seen.headers["idempotency-key"].clone())
        .collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!(world.spent().await, 2 * READING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_is_tried_at_most_so_often_and_then_refunded() {
    let world = World::new().await;
    world.upstream.set_broken(true);
    let credential = world.pay(get("/v1/reading")).await;
    let ask = || world.ask(paid(get("/v1/reading"), &credential));
    for _ in 0..2 {
        assert!(
            ask()
                .await
                .problem()
                .1
                .contains("send the same credential again")
        );
    }
    let last = ask().await.problem();
    assert_eq!(last.0, ProblemKind::UpstreamFailed);
    assert!(last.1.contains("was refunded"), "{}", last.1);
    assert_eq!(world.upstream.seen().len(), 3);
    assert_eq!(world.spent().await, 0);
    assert_eq!(ask().await.problem().0, ProblemKind::InvalidChallenge);
    assert_eq!(world.upstream.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn post_that_may_have_run_is_not_sent_again_but_refunded() {
    let world = World::new().await;
    world.upstream.set_broken(true);
    let credential = world.pay(post("/v1/order", "x")).await;
    let reply = world.ask(paid(post("/v1/order", "x"), &credential)).await;
    assert!(reply.problem().1.contains("was refunded"), "{reply:?}");
    assert_eq!(world.spent().await, 0);
    assert_eq!(world.movements().await, ["refund", "transfer", "mint"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refund_routes_give_the_money_back_and_keep_routes_keep_it() {
    let world = World::new().await;
    world.upstream.set_broken(true);
    for (path, told, spent, movements) in [
        (
            "/v1/refund",
            "was refunded",
            0,
            &["refund", "transfer", "mint"][..],
        ),
        (
            "/v1/keep",
            "the payment is kept",
            READING,
            &["transfer", "refund", "transfer", "mint"],
        ),
    ] {
        let credential = world.pay(get(path)).await;
        let reply = world.ask(paid(get(path), &credential)).await;
        let (kind, detail) = reply.problem();
        assert_eq!(kind, ProblemKind::UpstreamFailed);
        assert!(detail.contains(told), "{detail}");
        assert_eq!(reply.header("www-authenticate"), None);
        assert_eq!(world.spent().await, spent, "{path}");
        assert_eq!(world.movements().await, movements);
        let again = world.ask(paid(get(path), &credential)).await;
        assert!(!again.status.is_success(), "{again:?}");
        assert_eq!(world.spent().await, spent, "{path}");
    }
    assert_eq!(world.upstream.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_to_an_idempotency_key_is_repeated_byte_for_byte() {
    let world = World::new().await;
    let keyed = |request| with(request, "idempotency-key", "order-17");
    let credential = world.pay(keyed(post("/v1/order", "x"))).await;
    let ask = || world.ask(keyed(paid(post("/v1/order", "x"), &credential)));
    let first = ask().await;
    first.assert_paid();
    assert_eq!(first.header("idempotency-replayed"), None);
    let second = ask().await;
    second.assert_paid();
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(second.body, first.body);
    for name in ["payment-receipt", "cache-control", "x-of-the-api"] {
        assert_eq!(second.header(name), first.header(name), "{name}");
    }
    assert_eq!(world.upstream.seen().len(), 1);
    assert_eq!(world.spent().await, ORDER);
    let other = keyed(paid(post("/v1/order", "y"), &credential));
    let reply = world.ask(other).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(reply.problem().0, ProblemKind::IdempotencyConflict);
    assert_eq!(world.spent().await, ORDER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_response_outlives_a_restart() {
    let mut world = World::new().await;
    let keyed = |request| with(request, "idempotency-key", "\"order-18\"");
    let credential = world.pay(keyed(post("/v1/order", "x"))).await;
    let first = world
        .ask(keyed(paid(post("/v1/order", "x"), &credential)))
        .await;
    first.assert_paid();
    world.stop().await;
    world.start().await;
    let second = world
        .ask(keyed(paid(post("/v1/order", "x"), &credential)))
        .await;
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(second.body, first.body);
    assert_eq!(world.spent().await, ORDER);
}
