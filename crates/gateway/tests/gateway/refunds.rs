//! Payments that the operator looks at, and gives back.

use http::StatusCode;
use serde_json::{Value, json};

use crate::common::{READING, World, get, paid, post, with};

/// Asks for a refund.
async fn refund(world: &World, body: Value) -> (StatusCode, Value) {
    let request = post("/v1/refunds", &body.to_string());
    let request = with(request, "content-type", "application/json");
    let reply = world.ask_admin(request).await;
    let told = serde_json::from_slice(&reply.body).unwrap();
    (reply.status, told)
}

/// Pays for a reading: the id of its challenge.
async fn paid_for(world: &World) -> String {
    let challenge = world.challenge(get("/v1/reading?token=hunter2")).await;
    let id = challenge.id.as_str().to_owned();
    let credential = world.credential(challenge).await;
    let reply = world
        .ask(paid(get("/v1/reading?token=hunter2"), &credential))
        .await;
    reply.assert_paid();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_are_listed_and_shown_without_what_is_secret() {
    let world = World::new().await;
    assert_eq!(
        world.admin("/v1/payments").await,
        json!({"payments": []}),
        "nothing was paid"
    );
    let (first, second) = (paid_for(&world).await, paid_for(&world).await);
    let all = world.admin("/v1/payments?limit=9").await;
    assert_eq!(all["payments"].as_array().unwrap().len(), 2);
    assert!(!all.to_string().contains("hunter2"), "{all}");
    assert_eq!(all.get("next"), None);
    let page = world.admin("/v1/payments?limit=1").await;
    let next = page["next"].as_str().unwrap();
    let rest = world
        .admin(&format!("/v1/payments?limit=9&after={next}"))
        .await;
    let mut ids = vec![next.to_owned()];
    ids.extend(rest["payments"][0]["challenge"].as_str().map(str::to_owned));
    ids.sort();
    let mut both = vec![first.clone(), second];
    both.sort();
    assert_eq!(ids, both, "page by page");
    let one = world.admin(&format!("/v1/payment?challenge={first}")).await;
    assert_eq!(
        (&one["state"], &one["kept"]),
        (&json!("delivered"), &json!(false))
    );
    assert_eq!(one["resource"], "GET /v1/reading");
    assert_eq!(one["settled"]["amount"]["units"], "1000");
    let reply = world.ask_admin(get("/v1/payment?challenge=nobody")).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_refund_is_made_once_and_ends_the_payment() {
    let world = World::new().await;
    let id = paid_for(&world).await;
    assert_eq!(world.spent().await, READING);
    for _ in 0..2 {
        let (status, told) = refund(&world, json!({"challenge": id, "reason": "sorry"})).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert_eq!(told["amount"]["units"], "1000");
        assert_eq!(world.spent().await, 0);
    }
    let one = world.admin(&format!("/v1/payment?challenge={id}")).await;
    assert_eq!(one["state"], "refunded");
    assert_eq!(one["refunded"]["amount"]["units"], "1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_go_back_by_key_and_what_is_left_bounds_them() {
    let world = World::new().await;
    let id = paid_for(&world).await;
    let part = |amount: &str, key: &str| {
        let reason = "late";
        json!({"challenge": id, "amount": amount, "reason": reason, "key": key})
    };
    for _ in 0..2 {
        let (status, told) = refund(&world, part("0.0003 USD", "case-7")).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert_eq!(world.spent().await, READING - 300);
    }
    let (status, told) = refund(&world, part("0.0004 USD", "case-7")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{told}");
    assert!(told["error"].as_str().unwrap().contains("key"), "{told}");
    // More than is left: the ledger writes no refusal down, and it is a definite no all the same.
    for body in [
        json!({"challenge": id, "reason": "sorry"}),
        part("0.0009 USD", "case-8"),
    ] {
        let (status, told) = refund(&world, body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{told}");
        assert!(told["error"].as_str().unwrap().contains("700"), "{told}");
        let one = world.admin(&format!("/v1/payment?challenge={id}")).await;
        assert_eq!(one["state"], "delivered");
    }
    let (status, _) = refund(&world, part("0.0007 USD", "case-9")).await;
    assert_eq!((status, world.spent().await), (StatusCode::OK, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_refunds_move_nothing_and_say_why() {
    let world = World::new().await;
    let id = paid_for(&world).await;
    let long = "x".repeat(65);
    let table = [
        (json!({"challenge": "nobody", "reason": "r"}), 404, "nobody"),
        (json!({"challenge": id}), 400, "reason"),
        (json!({"challenge": id, "reason": ""}), 400, "reason"),
        (json!({"challenge": id, "reason": "a\nb"}), 400, "reason"),
        (json!({"challenge": id, "reason": long}), 400, "reason"),
        (
            json!({"challenge": id, "reason": "r", "key": ""}),
            400,
            "key",
        ),
        (
            json!({"challenge": id, "reason": "r", "amount": "1"}),
            400,
            "amount",
        ),
        (
            json!({"challenge": id, "reason": "r", "amount": "0 USD"}),
            400,
            "more than nothing",
        ),
        (
            json!({"challenge": id, "reason": "r", "amount": "5 USD"}),
            400,
            "at most",
        ),
        (
            json!({"challenge": id, "reason": "r", "amount": "-1 USD"}),
            400,
            "amount",
        ),
        (
            json!({"challenge": id, "reason": "r", "all": true}),
            400,
            "all",
        ),
    ];
    for (body, code, needle) in table {
        let (status, told) = refund(&world, body.clone()).await;
        assert_eq!(status.as_u16(), code, "{body}: {told}");
        let said = told["error"].as_str().unwrap();
        assert!(said.contains(needle), "{body}: {said}");
    }
    assert_eq!(world.spent().await, READING);
    let reply = world.ask(post("/v1/refunds", "{}")).await;
    assert_eq!(
        reply.status,
        StatusCode::NOT_FOUND,
        "only on the admin socket"
    );
}
