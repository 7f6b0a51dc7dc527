//! What is charged, what is refused, and that a refusal changes nothing.

use http::StatusCode;
use stiver_core::problem::ProblemKind;

use crate::common::{BODY_LIMIT, FUNDS, ORDER, READING, World, get, paid, post, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unpaid_request_is_answered_402_with_the_terms() {
    let world = World::new().await;
    let before = world.executed().await;
    let reply = world.ask(get("/v1/reading")).await;
    let (kind, _) = reply.problem();
    assert_eq!(kind, ProblemKind::PaymentRequired);
    let challenge = reply.challenge();
    let params = &challenge.params;
    assert_eq!(params.realm.as_str(), "gateway-test");
    assert_eq!(params.method.as_str(), "ledger");
    assert_eq!(params.intent.as_str(), "charge");
    assert_eq!(params.description.as_deref(), Some("One reading"));
    assert!(params.digest.is_none());
    let expires = params.expires.as_ref().unwrap();
    assert!(!expires.has_passed(world.env.clock.now()));
    let request = params.request.object().to_value();
    let text = |key: &str| request.get(key).and_then(|value| value.as_str());
    assert_eq!(text("amount"), Some("1000"));
    assert_eq!(text("currency"), Some("usd"));
    let again = world.challenge(get("/v1/reading")).await;
    assert_ne!(again.id, challenge.id, "no two challenges share an id");
    assert_eq!(world.executed().await, before);
    assert_eq!(world.upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn description_is_in_the_language_asked_for_and_binds_nothing() {
    let world = World::new().await;
    let ask = |field: &str| with(get("/v1/reading"), "accept-language", field);
    for (field, expected) in [
        ("de-AT, en;q=0.5", "Ein Messwert"),
        ("fr, en;q=0.5, de;q=0.4", "One reading"),
        ("fr", "One reading"),
        ("\t;;q=,,", "One reading"),
    ] {
        let challenge = world.challenge(ask(field)).await;
        let told = challenge.params.description.as_deref();
        assert_eq!(told, Some(expected), "{field}");
        // Paid by a request that asks for another language.
        let credential = world.credential(challenge).await;
        world.ask(paid(ask("en"), &credential)).await.assert_paid();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credential_goes_beside_an_authorization_of_the_application() {
    let world = World::new().await;
    let ask = || with(get("/v1/reading"), "authorization", "Bearer for-the-api");
    let credential = world.pay(ask()).await;
    let request = with(ask(), "payment-authorization", &credential);
    world.ask(request).await.assert_paid();
    let seen = world.upstream.seen().remove(0);
    let lines: Vec<_> = seen.headers.get_all("authorization").iter().collect();
    assert_eq!(lines, ["Bearer for-the-api"]);
    assert!(
        !seen.headers.contains_key("payment-authorization"),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_request_is_served_with_a_receipt_and_the_price_has_moved() {
    let world = World::new().await;
    let challenge = world.challenge(get("/v1/reading")).await;
    let id = challenge.id.clone();
    let credential = world.credential(challenge).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    assert_eq!(&*reply.body, b"{\"answer\":1}");
    assert_eq!(reply.header("cache-control"), Some("private, max-age=60"));
    let receipt = reply.receipt().unwrap();
    assert_eq!(receipt.method.as_str(), "ledger");
    assert!(receipt.to_json().contains(id.as_str()), "{receipt:?}");
    assert_eq!(world.spent().await, READING);
    assert_eq!(world.movements().await, ["transfer", "mint"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_credential_is_refused_and_takes_nothing() {
    let world = World::new().await;
    let challenge = world.challenge(get("/v1/reading")).await;
    let id = challenge.id.clone();
    let credential = world.credential(challenge).await;
    let first = world.ask(paid(get("/v1/reading"), &credential)).await;
    first.assert_paid();
    let second = world.ask(paid(get("/v1/reading"), &credential)).await;
    let (kind, detail) = second.problem();
    assert_eq!(kind, ProblemKind::InvalidChallenge);
    assert!(detail.contains("already redeemed"), "{detail}");
    assert_ne!(second.challenge().id, id, "a fresh challenge goes with it");
    assert_eq!(world.spent().await, READING);
    assert_eq!(world.upstream.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credential_buys_only_the_method_path_and_query_it_was_issued_for() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/other?a=1")).await;
    let before = world.executed().await;
    for request in [
        get("/v1/reading"),
        get("/v1/keep?a=1"),
        get("/v1/other"),
        get("/v1/other?a=2"),
        get("/v1/other?a=1&b=2"),
        post("/v1/other?a=1", ""),
    ] {
        let told = format!("{} {}", request.method(), request.uri());
        let reply = world.ask(paid(request, &credential)).await;
        let (kind, detail) = reply.problem();
        assert_eq!(kind, ProblemKind::InvalidChallenge, "{told}");
        assert!(
            detail.contains("another method, path or query"),
            "{told}: {detail}"
        );
    }
    assert_eq!(world.executed().await, before);
    assert_eq!(world.upstream.seen().len(), 0);
    let reply = world.ask(paid(get("/v1/other?a=1"), &credential)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_spellings_of_a_path_are_one_resource() {
    let world = World::new().await;
    let credential = world.pay(get("/v1/%72eading")).await;
    world
        .ask(paid(get("/v1/reading"), &credential))
        .await
        .assert_paid();
    assert_eq!(world.upstream.seen()[0].target, "/v1/reading");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credential_buys_only_the_body_it_was_issued_for() {
    let world = World::new().await;
    let credential = world.pay(post("/v1/order", "one apple")).await;
    let before = world.executed().await;
    for body in ["ten apples", "one apple ", ""] {
        let reply = world.ask(paid(post("/v1/order", body), &credential)).await;
        let (kind, detail) = reply.problem();
        assert_eq!(kind, ProblemKind::InvalidChallenge, "{body:?}");
        assert!(detail.contains("body"), "{detail}");
    }
    assert_eq!(world.executed().await, before);
    assert_eq!(world.upstream.seen().len(), 0);
    let right = paid(post("/v1/order", "one apple"), &credential);
    world.ask(right).await.assert_paid();
    assert_eq!(&*world.upstream.seen()[0].body, b"one apple");
    assert_eq!(world.spent().await, ORDER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_credentials_are_a_bad_request() {
    let world = World::new().await;
    let one = world.pay(get("/v1/reading")).await;
    let two = world.pay(get("/v1/reading")).await;
    let before = world.executed().await;
    for request in [
        paid(paid(get("/v1/reading"), &one), &two),
        paid(paid(get("/v1/reading"), &one), &one),
        with(
            paid(get("/v1/reading"), &one),
            "payment-authorization",
            &two,
        ),
    ] {
        let reply = world.ask(request).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.problem().0, ProblemKind::MultipleCredentials);
        assert_eq!(reply.header("www-authenticate"), None);
    }
    assert_eq!(world.executed().await, before);
    let reply = world.ask(paid(get("/v1/reading"), &one)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_credentials_are_refused_by_name_and_change_nothing() {
    let world = World::new().await;
    let good = world.pay(get("/v1/reading")).await;
    let token = good.strip_prefix("Payment ").unwrap();
    let before = world.admin("/v1/books").await;
    let last = if token.ends_with('A') { "B" } else { "A" };
    use ProblemKind as Kind;
    let table = [
        ("Payment".to_owned(), Kind::MalformedCredential),
        ("Payment !!!".to_owned(), Kind::MalformedCredential),
        ("Payment e30".to_owned(), Kind::MalformedCredential),
        ("Payment bm8ganNvbg".to_owned(), Kind::MalformedCredential),
        (format!("{good}="), Kind::MalformedCredential),
        (good[..good.len() / 2].to_owned(), Kind::MalformedCredential),
        (
            format!("Payment {}{last}", &token[..token.len() - 1]),
            Kind::MalformedCredential,
        ),
        (
            format!("Payment {}", "A".repeat(33 * 1024)),
            Kind::CredentialTooLarge,
        ),
    ];
    for (credential, expected) in table {
        let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
        let (kind, detail) = reply.problem();
        let shown = &credential[..credential.len().min(40)];
        assert_eq!(kind, expected, "{shown}: {detail}");
        let has_challenge = reply.header("www-authenticate").is_some();
        assert_eq!(has_challenge, kind.status() == 402, "{shown}");
    }
    let mut after = world.admin("/v1/books").await;
    after["at"] = before["at"].clone();
    assert_eq!(after, before);
    assert_eq!(world.upstream.seen().len(), 0);
    let reply = world.ask(paid(get("/v1/reading"), &good)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_challenge_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let mut challenge = world.challenge(post("/v1/order", "x")).await;
    let cheap = world.challenge(get("/v1/reading")).await;
    challenge.params.request = cheap.params.request.clone();
    let credential = world.credential(challenge).await;
    let before = world.executed().await;
    let reply = world.ask(paid(post("/v1/order", "x"), &credential)).await;
    let (kind, detail) = reply.problem();
    assert_eq!(kind, ProblemKind::InvalidChallenge);
    assert!(detail.contains("altered"), "{detail}");
    assert_eq!(world.executed().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payer_without_funds_is_told_so() {
    let world = World::new().await;
    let calls = FUNDS / ORDER;
    for _ in 0..calls {
        let credential = world.pay(post("/v1/order", "x")).await;
        let reply = world.ask(paid(post("/v1/order", "x"), &credential)).await;
        reply.assert_paid();
    }
    let credential = world.pay(get("/v1/reading")).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    assert_eq!(reply.problem().0, ProblemKind::PaymentInsufficient);
    assert_eq!(world.spent().await, FUNDS);
    let served = i128::try_from(world.upstream.seen().len()).unwrap();
    assert_eq!(served, calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_never_charged() {
    let world = World::new().await;
    let head = || http::Request::head("/v1/reading").body(bytes::Bytes::new());
    let unpaid = world.ask(head().unwrap()).await;
    assert_eq!(unpaid.status, StatusCode::PAYMENT_REQUIRED);
    assert!(unpaid.body.is_empty());
    let credential = world.pay(get("/v1/reading")).await;
    let before = world.executed().await;
    let reply = world.ask(paid(head().unwrap(), &credential)).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.executed().await, before);
    assert_eq!(world.upstream.seen().len(), 0);
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_over_the_limit_is_refused_before_it_is_priced() {
    let world = World::new().await;
    let long = "x".repeat(BODY_LIMIT + 1);
    let reply = world.ask(post("/v1/order", &long)).await;
    assert_eq!(reply.problem().0, ProblemKind::BodyTooLarge);
    let longest = "x".repeat(BODY_LIMIT);
    let reply = world.ask(post("/v1/order", &longest)).await;
    assert_eq!(reply.problem().0, ProblemKind::PaymentRequired);
    assert!(reply.challenge().params.digest.is_some());
}
