//! What the gateway tells of itself before anybody asks, and that it tells the truth.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::common::{World, get, post, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openapi_names_the_very_amount_that_the_402_asks() {
    let world = World::new().await;
    let told = world.ask(get("/openapi.json")).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.header("content-type"), Some("application/json"));
    assert_eq!(told.header("access-control-allow-origin"), Some("*"));
    let document: Value = serde_json::from_slice(&told.body).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in [("/v1/reading", "get"), ("/v1/order", "post")] {
        let operation = &paths[path][methods];
        assert!(operation["responses"]["402"].is_object(), "{operation}");
        let offer = &operation["x-payment-info"]["offers"][0];
        let request = if methods == "get" {
            get(path)
        } else {
            post(path, "body")
        };
        let challenge = world.challenge(request).await;
        let asked = challenge.params.request.object();
        assert_eq!(offer["method"], challenge.params.method.as_str());
        assert_eq!(offer["intent"], challenge.params.intent.as_str());
        for name in ["amount", "currency"] {
            let value = asked.get(name).and_then(|value| value.as_str());
            assert_eq!(offer[name].as_str(), value, "{path} {name}");
        }
    }
    assert!(
        paths
            .keys()
            .all(|path| !path.starts_with("/free") && !path.starts_with("/denied"))
    );
    assert!(world.upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_cached_and_only_read() {
    let world = World::new().await;
    let told = world.ask(get("/llms.txt")).await;
    assert_eq!(told.header("cache-control"), Some("public, max-age=300"));
    let text = String::from_utf8(told.body.to_vec()).unwrap();
    assert!(
        text.contains("`GET /v1/reading`: 0.001 USD (charge by ledger)"),
        "{text}"
    );
    let tag = told.header("etag").unwrap();
    let again = world
        .ask(with(get("/llms.txt"), "if-none-match", tag))
        .await;
    assert_eq!(
        (again.status, again.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
    let mut head = get("/openapi.json");
    *head.method_mut() = Method::HEAD;
    let head = world.ask(head).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let written = world.ask(post("/openapi.json", "{}")).await;
    assert_eq!(written.status, StatusCode::NOT_FOUND);
}
