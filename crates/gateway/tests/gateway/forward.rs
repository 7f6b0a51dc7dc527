//! What reaches the API behind the gateway, and what does not.

use http::StatusCode;
use stiver_core::problem::ProblemKind;

use crate::common::{World, get, paid, post, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_routes_pass_and_denied_and_unmatched_ones_do_not() {
    let world = World::new().await;
    let free = world.ask(get("/free/page?x=1")).await;
    assert_eq!(free.status, StatusCode::OK);
    assert_eq!(free.header("payment-receipt"), None);
    assert_eq!(free.header("cache-control"), Some("public, max-age=60"));
    for request in [
        get("/denied/page"),
        get("/nowhere"),
        get("/free"),
        get("/v1/reading/"),
        get("/V1/reading"),
        post("/v1/reading", ""),
        get("/v1/order"),
    ] {
        let told = format!("{} {}", request.method(), request.uri());
        let reply = world.ask(request).await;
        assert_eq!(reply.problem().0, ProblemKind::NotFound, "{told}");
        assert_eq!(reply.header("www-authenticate"), None, "{told}");
    }
    let seen = world.upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&*seen[0].method, &*seen[0].target),
        ("GET", "/free/page?x=1")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn method_in_other_letters_finds_no_free_way_to_a_priced_route() {
    let world = World::new().await;
    for method in ["get", "Get", "gET"] {
        let request =
            format!("{method} /v1/reading HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = world.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{method}: {answer}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_paths_are_refused_and_never_reach_the_api() {
    let world = World::new().await;
    let long = format!("/free/{}", "a".repeat(9000));
    let deep = "/a".repeat(65);
    for path in [
        "/free%2fpage",
        "/free/..%2f..%2fv1/reading",
        "/free%5Cpage",
        "/free/../v1/reading",
        "/free/%2e%2e/v1/reading",
        "/free/./page",
        "/free/..;x=1/v1/reading",
        "//free/page",
        "/free//page",
        "/free/%",
        "/free/%zz",
        "/free/%00",
        &long,
        &deep,
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = world.raw(&request).await;
        let shown = &path[..path.len().min(40)];
        assert!(answer.starts_with("HTTP/1.1 400 "), "{shown}: {answer}");
        assert!(
            answer.contains("urn:stiver:problem:bad-request"),
            "{shown}: {answer}"
        );
        assert!(
            answer.contains("cache-control: no-store"),
            "{shown}: {answer}"
        );
    }
    for request in [
        "GET /free/a b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET free HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET /free/\u{e9} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET /free/a HTTP/1.1\r\nhost: x\r\nx: a\u{0}b\r\n\r\n",
    ] {
        let answer = world.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    assert_eq!(world.upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_sees_no_credential_no_hop_headers_and_no_method_override() {
    let world = World::new().await;
    let credential = world.pay(post("/v1/order", "body")).await;
    let mut request = paid(post("/v1/order", "body"), &credential);
    for (name, value) in [
        ("authorization", "Bearer for-the-api"),
        ("accept-payment", "ledger"),
        ("connection", "x-of-this-hop"),
        ("x-of-this-hop", "1"),
        ("te", "gzip;q=0.5, trailers"),
        ("proxy-authorization", "Basic eA"),
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/v1/dear"),
        ("x-rewrite-url", "/v1/dear"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("idempotency-key", "of-the-client"),
        ("x-for-the-api", "kept"),
    ] {
        request = with(request, name, value);
    }
    world.ask(request).await.assert_paid();
    let seen = world.upstream.seen().remove(0);
    let lines = seen.headers.get_all("authorization").iter();
    let lines: Vec<_> = lines.map(|value| value.to_str().unwrap()).collect();
    assert_eq!(lines, ["Bearer for-the-api"]);
    for name in [
        "accept-payment",
        "connection",
        "x-of-this-hop",
        "proxy-authorization",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-for",
        "forwarded",
        "payment-authorization",
        "payment-receipt",
        "transfer-encoding",
    ] {
        assert!(!seen.headers.contains_key(name), "{name}: {seen:?}");
    }
    assert_eq!(seen.headers["te"], "trailers", "all of it that goes on");
    assert_eq!(seen.headers["x-for-the-api"], "kept");
    assert_eq!(seen.headers["host"], world.upstream.address.to_string());
    let key = seen.headers["idempotency-key"].to_str().unwrap();
    assert_eq!(key.len(), 22, "the gateway's own key: {key}");
    assert_eq!(&*seen.body, b"body");
    let text = format!("{seen:?}");
    let token = credential.strip_prefix("Payment ").unwrap();
    assert!(!text.contains(&token[..24]), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_routes_hand_no_credential_on_either() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    let token = credential.strip_prefix("Payment ").unwrap();
    for request in [
        paid(get("/free/a"), &credential),
        paid(get("/free/a"), &format!("payment  {token}")),
        paid(get("/free/a"), &format!("Payment\t{token}")),
        paid(get("/free/a"), &format!("Basic eA, Payment {token}")),
        with(get("/free/a"), "payment-authorization", &credential),
    ] {
        let request = paid(request, "Bearer for-the-api");
        let reply = world.ask(request.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{request:?}");
        let seen = world.upstream.seen().pop().unwrap();
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains(&token[..24]), "{text}");
        assert!(text.contains("Bearer for-the-api"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn api_cannot_forge_a_receipt_or_hop_headers() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    for reply in [
        world.ask(get("/free/a")).await,
        world.ask(paid(get("/v1/reading"), &credential)).await,
    ] {
        assert_eq!(reply.status, StatusCode::OK);
        assert_ne!(reply.header("payment-receipt"), Some("forged"));
        for name in [
            "idempotency-replayed",
            "x-of-the-hop",
            "connection",
            "proxy-authenticate",
        ] {
            assert_eq!(reply.header(name), None, "{reply:?}");
        }
        assert_eq!(reply.header("x-of-the-api"), Some("kept"));
    }
}
