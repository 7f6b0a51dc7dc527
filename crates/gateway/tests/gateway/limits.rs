//! Rate limits over real sockets: floods are told to wait, and who has paid is served.

use stiver_core::problem::ProblemKind;

use crate::common::{READING, ROUTES, Reply, World, get, paid, post, upstream::Upstream, with};

async fn limited(gateway: &str) -> World {
    World::configured(Upstream::start().await, gateway, ROUTES).await
}

#[track_caller]
fn is_limited(reply: &Reply) {
    assert_eq!(reply.problem().0, ProblemKind::TooManyRequests);
    let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert!(!reply.headers.contains_key("www-authenticate"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_asks_for_challenges_is_told_to_wait_and_who_has_paid_is_served() {
    let tables = "[limits]\nchallenges_per_source = { per_second = 1, burst = 2 }\n\
                  per_source = { per_second = 1, burst = 6 }\n";
    let world = limited(tables).await;
    let credential = world.pay(get("/v1/reading")).await;
    let second = world.pay(get("/v1/reading")).await;
    // Now there is no challenge left, and the flood begins.
    for _ in 0..20 {
        is_limited(&world.ask(get("/v1/reading")).await);
    }
    // A bad credential is no way around it.
    is_limited(&world.ask(paid(get("/v1/reading"), "Payment e30")).await);
    // One that was bound here is served all the same, from a bucket of its own.
    world
        .ask(paid(get("/v1/reading"), &credential))
        .await
        .assert_paid();
    world
        .ask(paid(get("/v1/reading"), &second))
        .await
        .assert_paid();
    assert_eq!(world.spent().await, 2 * READING);
    // And that bucket ends too.
    let mut last = world.ask(paid(get("/v1/reading"), &credential)).await;
    for _ in 0..20 {
        last = world.ask(paid(get("/v1/reading"), &credential)).await;
    }
    is_limited(&last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_behind_a_trusted_proxy_are_told_apart_and_others_are_not_believed() {
    let rate = "[limits]\nper_source = { per_second = 1, burst = 1 }\n";
    let from = |client: &str| with(get("/free/a"), "x-forwarded-for", client);
    let world = limited(rate).await;
    assert_eq!(world.ask(from("203.0.113.1")).await.status, 200);
    is_limited(&world.ask(from("203.0.113.2")).await);
    let trusting = format!("trusted_proxies = [\"127.0.0.1\"]\n{rate}");
    let world = limited(&trusting).await;
    assert_eq!(world.ask(from("203.0.113.1")).await.status, 200);
    assert_eq!(world.ask(from("203.0.113.2")).await.status, 200);
    is_limited(&world.ask(from("198.51.100.7, 203.0.113.2")).await);
    is_limited(&world.ask(from("203.0.113.1, 127.0.0.1")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_serves_itself_is_limited_too() {
    let world = limited("[limits]\nper_source = { per_second = 1, burst = 1 }\n").await;
    assert_eq!(world.ask(get("/openapi.json")).await.status, 200);
    is_limited(&world.ask(get("/openapi.json")).await);
    is_limited(&world.ask(post(stiver_gateway::LEDGER_PATH, "{}")).await);
    let mut preflight = with(get("/v1/reading"), "origin", "https://page.example");
    *preflight.method_mut() = http::Method::OPTIONS;
    let preflight = with(preflight, "access-control-request-method", "GET");
    is_limited(&world.ask(preflight).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_has_a_limit_of_its_own() {
    let route = "[[route]]\npath = \"/free/few\"\naccess = \"free\"\n\
                 rate_limit = { per_second = 1, burst = 1 }\n";
    let world = limited(route).await;
    assert_eq!(world.ask(get("/free/few")).await.status, 200);
    is_limited(&world.ask(get("/free/few")).await);
    assert_eq!(world.ask(get("/free/many")).await.status, 200);
    assert_eq!(world.upstream.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_in_total_is_for_everybody_together() {
    let tables = "trusted_proxies = [\"127.0.0.1\"]\n\
                  [limits]\ntotal = { per_second = 1, burst = 3 }\n";
    let world = limited(tables).await;
    let mut refused = 0;
    for number in 0..6 {
        let client = format!("203.0.113.{number}");
        let reply = world
            .ask(with(get("/free/a"), "x-forwarded-for", &client))
            .await;
        refused += u32::from(reply.status == 429);
    }
    assert!(refused >= 2, "{refused}");
}
