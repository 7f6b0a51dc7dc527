//! Browsers: preflights, and the headers a page may read.

use bytes::Bytes;
use http::{Request, StatusCode};
use stiver_core::problem::ProblemKind;

use crate::common::{World, get, paid, upstream::Upstream, with};

fn preflight(path: &str, method: &str) -> Request<Bytes> {
    let mut request = get(path);
    *request.method_mut() = http::Method::OPTIONS;
    let request = with(request, "origin", "https://page.example");
    let request = with(request, "access-control-request-method", method);
    with(
        request,
        "access-control-request-headers",
        "authorization, x-of-the-page",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflight_of_a_priced_route_needs_no_payment_and_never_reaches_the_api() {
    let world = World::new().await;
    for (path, method) in [
        ("/v1/reading", "GET"),
        ("/v1/order", "POST"),
        ("/v1/other", "PUT"),
    ] {
        let reply = world.ask(preflight(path, method)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-methods"), Some(method));
        let allowed = reply.header("access-control-allow-headers");
        assert_eq!(allowed, Some("authorization, x-of-the-page"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert_eq!(reply.header("www-authenticate"), None);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.body.is_empty());
    }
    for (path, method) in [
        ("/v1/reading", "DELETE"),
        ("/denied/a", "GET"),
        ("/none", "GET"),
    ] {
        let reply = world.ask(preflight(path, method)).await;
        assert_eq!(reply.problem().0, ProblemKind::NotFound, "{path} {method}");
    }
    assert!(world.upstream.seen().is_empty());
    // An upstream knows best who may use what is free.
    let reply = world.ask(preflight("/free/a", "GET")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(world.upstream.seen().remove(0).method, "OPTIONS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_is_no_preflight_is_charged_like_any_method() {
    let world = World::new().await;
    let mut plain = get("/v1/other");
    *plain.method_mut() = http::Method::OPTIONS;
    let no_origin = with(plain.clone(), "access-control-request-method", "GET");
    let no_method = with(plain.clone(), "origin", "https://page.example");
    for request in [plain, no_origin, no_method] {
        let reply = world.ask(request).await;
        assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{reply:?}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_may_read_the_payment_headers_of_refusals_and_answers() {
    let world = World::new().await;
    let from_page = |request| with(request, "origin", "https://page.example");
    let credential = world.pay(get("/v1/reading")).await;
    for reply in [
        world.ask(from_page(get("/v1/reading"))).await,
        world
            .ask(from_page(paid(get("/v1/reading"), &credential)))
            .await,
    ] {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["WWW-Authenticate", "Payment-Receipt", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    let reply = world.ask(get("/v1/reading")).await;
    assert_eq!(reply.header("access-control-allow-origin"), None, "no page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_of_headers_that_is_no_list_is_not_repeated() {
    let world = World::new().await;
    let long = "a,".repeat(4096);
    for asked in ["a b", "a;b", "\u{e9}", "", &long] {
        let mut request = preflight("/v1/reading", "GET");
        let value = http::HeaderValue::from_bytes(asked.as_bytes()).unwrap();
        let headers = request.headers_mut();
        headers.insert("access-control-request-headers", value);
        let reply = world.ask(request).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{asked:?}");
        assert_eq!(reply.header("access-control-allow-headers"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_may_not_read_what_is_for_one() {
    let tables = format!(
        "{}\n[cors]\norigins = [\"https://page.example\"]\nmax_age_s = 60\n",
        crate::common::ROUTES
    );
    let world = World::configured(Upstream::start().await, "", &tables).await;
    let reply = world.ask(preflight("/v1/reading", "GET")).await;
    let origin = Some("https://page.example");
    assert_eq!(reply.header("access-control-allow-origin"), origin);
    assert_eq!(reply.header("access-control-max-age"), Some("60"));
    let reply = world
        .ask(with(get("/v1/reading"), "origin", "https://page.example"))
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), origin);
    assert_eq!(reply.header("vary"), Some("Origin"));
    for other in [
        "https://other.example",
        "https://page.example.other",
        "null",
    ] {
        let mut request = preflight("/v1/reading", "GET");
        let value = other.parse().unwrap();
        request.headers_mut().insert("origin", value);
        let reply = world.ask(request).await;
        assert_eq!(reply.problem().0, ProblemKind::NotFound, "{other}");
        let reply = world.ask(with(get("/v1/reading"), "origin", other)).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{other}");
    }
}
