//! The ledger's public endpoint.

use http::StatusCode;
use stiver_core::Credential;
use stiver_core::problem::ProblemKind;
use stiver_gateway::LEDGER_PATH;
use stiver_method_ledger::query::{QUERY_BYTES_MAX, Query, Question};

use crate::common::{FUNDS, World, get, paid, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_describes_the_ledger() {
    let world = World::new().await;
    let reply = world.ask(get(LEDGER_PATH)).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let about: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(about["ledger"], world.ledger.to_string());
    assert!(
        about["receiptKey"]
            .as_str()
            .unwrap()
            .starts_with("did:key:z")
    );
    assert_eq!(about["currencies"][0]["code"], "usd");
    assert_eq!(about["currencies"][0]["decimals"], 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_question_is_answered_and_another_keys_is_not() {
    let world = World::new().await;
    let query = Query {
        ledger: world.ledger,
        account: world.payer.account(),
        at: world.env.clock.now(),
        question: Question::Account,
    };
    let signed = query.sign(world.key.as_ref()).await.unwrap();
    let body = String::from_utf8(signed).unwrap();
    let reply = world.ask(post(LEDGER_PATH, &body)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(text.contains(&FUNDS.to_string()), "{text}");
    let stranger = stiver_method::key::Ed25519Key::from_seed(&[7; 32]);
    let forged = String::from_utf8(query.sign(&stranger).await.unwrap()).unwrap();
    let reply = world.ask(post(LEDGER_PATH, &forged)).await;
    assert_eq!(reply.problem().0, ProblemKind::Forbidden);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_questions_are_refused() {
    let world = World::new().await;
    for body in ["", "{}", "[", "null", "{\"query\":1}", "\u{0}\u{1}"] {
        let reply = world.ask(post(LEDGER_PATH, body)).await;
        assert_eq!(reply.problem().0, ProblemKind::BadRequest, "{body:?}");
    }
    let long = " ".repeat(QUERY_BYTES_MAX + 1);
    let reply = world.ask(post(LEDGER_PATH, &long)).await;
    assert_eq!(reply.problem().0, ProblemKind::BodyTooLarge);
    let request = http::Request::delete(LEDGER_PATH).body(bytes::Bytes::new());
    let reply = world.ask(request.unwrap()).await;
    assert_eq!(reply.problem().0, ProblemKind::NotFound);
    assert_eq!(world.upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_for_payees_elsewhere_are_taken_only_where_the_configuration_says_so() {
    let mut world = World::new().await;
    let credential = world.pay(get("/v1/reading")).await;
    let token = credential.strip_prefix("Payment ").unwrap();
    let payload = Credential::parse(token.as_bytes()).unwrap().payload;
    let order = payload.as_str().to_owned();
    let before = world.executed().await;
    let reply = world.ask(post(LEDGER_PATH, &order)).await;
    let (kind, detail) = reply.problem();
    assert_eq!(kind, ProblemKind::Forbidden);
    assert!(detail.contains("accept_orders"), "{detail}");
    assert_eq!(world.executed().await, before);
    world.stop().await;
    world.config.accept_orders = true;
    world.start().await;
    let reply = world.ask(post(LEDGER_PATH, &order)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["answer"]["status"], "executed");
    assert_eq!(answer["receipt"]["status"], "success");
    assert_eq!(world.executed().await, before + 1);
    // The credential that carried it still buys what it was for: the order is executed once.
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(world.executed().await, before + 1);
}
