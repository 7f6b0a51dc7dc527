//! Paying through a proxy is as paying without one.

use http::StatusCode;

use crate::{
    common::{READING, get, paid, post},
    front::{Front, Program, is_kept},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_pass_whole_and_no_cache_keeps_them() {
    for program in Program::ALL {
        let front = Front::start(program).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            for reply in [
                front.ask(get("/v1/reading")).await,
                front.ask_h2(get("/v1/reading")).await,
            ] {
                assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{reply:?}");
                assert_eq!(reply.problem().0.status(), 402);
                assert!(!is_kept(&reply), "{program:?}: {reply:?}");
                let here = reply.challenge();
                let direct = front.world.challenge(get("/v1/reading")).await;
                assert_eq!(here.params.realm, direct.params.realm);
                assert_eq!(here.params.request, direct.params.request);
                ids.push(here.id.as_str().to_owned());
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(
            ids.len(),
            6,
            "{program:?}: each answer has a challenge of its own"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_answers_reach_the_payer_and_nobody_after() {
    for program in Program::ALL {
        let front = Front::start(program).await;
        // The cache works: what is free and public is kept.
        for _ in 0..2 {
            assert_eq!(front.ask(get("/free/page")).await.status, StatusCode::OK);
        }
        let kept = front.ask(get("/free/page")).await;
        assert!(is_kept(&kept), "{program:?}: {kept:?}");
        assert_eq!(front.world.upstream.seen().len(), 1, "{program:?}");

        let credential = front
            .world
            .credential(front.ask(get("/v1/reading")).await.challenge());
        let credential = credential.await;
        let reply = front.ask(paid(get("/v1/reading"), &credential)).await;
        reply.assert_paid();
        assert!(!is_kept(&reply), "{program:?}: {reply:?}");
        assert_eq!(front.world.spent().await, READING);
        // Neither a stranger nor the payer again gets a copy of it.
        for request in [get("/v1/reading"), paid(get("/v1/reading"), &credential)] {
            let reply = front.ask(request).await;
            assert!(reply.status.is_client_error(), "{program:?}: {reply:?}");
            assert_eq!(reply.header("payment-receipt"), None);
        }
        assert_eq!(front.world.upstream.seen().len(), 2, "{program:?}");

        // And over HTTP/2, with a body that is bound.
        let challenge = front.ask_h2(post("/v1/order", "one tea")).await.challenge();
        let credential = front.world.credential(challenge).await;
        let other = front
            .ask_h2(paid(post("/v1/order", "two teas"), &credential))
            .await;
        assert_eq!(other.status, StatusCode::PAYMENT_REQUIRED, "{other:?}");
        let reply = front
            .ask_h2(paid(post("/v1/order", "one tea"), &credential))
            .await;
        reply.assert_paid();
        let seen = front.world.upstream.seen().pop().unwrap();
        assert_eq!((&*seen.target, &*seen.body), ("/v1/order", &b"one tea"[..]));
        assert_eq!(front.payments().await, 2);
    }
}
