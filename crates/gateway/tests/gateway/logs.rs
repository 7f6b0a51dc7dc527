//! Nothing secret is logged.

use stiver_core::problem::ProblemKind;

use crate::common::{World, get, logs, paid, post, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_hold_no_credential_no_receipt_and_no_key() {
    let mut world = World::new().await;
    let mut secrets = vec!["secret-idempotency-key".to_owned()];
    for file in [
        world.secret_file(),
        world.config.payee_key_file(),
        world.config.issuer_key_file(),
    ] {
        let text = std::fs::read_to_string(file).unwrap();
        secrets.extend(text.split_whitespace().last().map(str::to_owned));
    }
    let keyed = |request| with(request, "idempotency-key", "secret-idempotency-key");
    for broken in [false, true] {
        world.upstream.set_broken(broken);
        let credential = world.pay(keyed(post("/v1/order", "x"))).await;
        for _ in 0..2 {
            let reply = world
                .ask(keyed(paid(post("/v1/order", "x"), &credential)))
                .await;
            secrets.extend(reply.header("payment-receipt").map(str::to_owned));
        }
        let cut = &credential[..credential.len() - 2];
        let reply = world.ask(paid(get("/v1/reading"), cut)).await;
        assert_eq!(reply.problem().0, ProblemKind::MalformedCredential);
        world.ask(paid(get("/free/a"), &credential)).await;
        secrets.push(credential["Payment ".len()..].to_owned());
    }
    world.stop().await;
    let logs = logs::text();
    for expected in ["delivered", "delivery failed", "refunded", "refused"] {
        assert!(logs.contains(expected), "{expected} is told: {logs}");
    }
    assert!(secrets.len() > 6, "there is something to look for");
    for secret in secrets {
        // A part of it is as bad as the whole.
        for part in secret.as_bytes().chunks(24).filter(|part| part.len() >= 12) {
            let part = std::str::from_utf8(part).unwrap();
            assert!(!logs.contains(part), "{part} is in the logs");
        }
    }
}
