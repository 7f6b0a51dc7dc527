//! Start, stop, restart.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::Request;
use stiver_core::problem::ProblemKind;
use tokio::net::TcpStream;

use crate::common::{READING, Reply, World, ask_at, ask_h2_at, get, paid};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_finishes_a_paid_request_in_flight() {
    stop_finishes(|address, request| Box::pin(ask_at(address, request))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_finishes_a_paid_request_in_flight_over_http_2() {
    stop_finishes(|address, request| Box::pin(ask_h2_at(address, request))).await;
}

type Asking = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Stops the gateway while its slow API works for a request that is paid for.
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn stop_finishes(ask: fn(SocketAddr, Request<Bytes>) -> Asking) {
    let mut world = World::new().await;
    world.upstream.set_slow();
    let credential = world.pay(get("/v1/reading")).await;
    let (address, upstream) = (world.address(), world.upstream.clone());
    let asking = tokio::spawn(ask(address, paid(get("/v1/reading"), &credential)));
    upstream.arrived().await;
    let stopping = tokio::spawn(world.take().stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished(), "it waits for what is in flight");
    upstream.release();
    asking.await.unwrap().assert_paid();
    stopping.await.unwrap().unwrap();
    assert!(!world.config.admin_socket().exists());
    world.start().await;
    assert_eq!(world.spent().await, READING);
    let replayed = world.ask(paid(get("/v1/reading"), &credential)).await;
    assert_eq!(replayed.problem().0, ProblemKind::InvalidChallenge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a test starts its own tasks")]
async fn two_requests_with_one_credential_at_once_are_served_once() {
    let world = Arc::new(World::new().await);
    let credential = world.pay(get("/v1/reading")).await;
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let request = paid(get("/v1/reading"), &credential);
            tokio::spawn(ask_at(world.address(), request))
        })
        .collect();
    let mut served = 0;
    for reply in asking {
        let reply = reply.await.unwrap();
        if reply.status.is_success() {
            reply.assert_paid();
            served += 1;
        }
    }
    assert_eq!(served, 1);
    assert_eq!(world.upstream.seen().len(), 1);
    assert_eq!(world.spent().await, READING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_secret_still_answers_for_challenges_that_are_out() {
    let mut world = World::new().await;
    let early = world.pay(get("/v1/reading")).await;
    let late = world.pay(get("/v1/reading")).await;
    let file = world.secret_file();
    let old = std::fs::read_to_string(&file).unwrap();
    let old = old.strip_prefix("current ").unwrap().trim().to_owned();
    let new = "A".repeat(43);
    let rotated = format!("current {new}\nprevious {old} until 2099-01-01T00:00:00Z\n");
    world.stop().await;
    std::fs::write(&file, rotated).unwrap();
    world.start().await;
    let reply = world.ask(paid(get("/v1/reading"), &early)).await;
    reply.assert_paid();
    world.stop().await;
    std::fs::write(&file, format!("current {new}\n")).unwrap();
    world.start().await;
    let reply = world.ask(paid(get("/v1/reading"), &late)).await;
    let (kind, detail) = reply.problem();
    assert_eq!(kind, ProblemKind::InvalidChallenge);
    assert!(detail.contains("not issued here"), "{detail}");
    assert_eq!(world.spent().await, READING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_gateway_on_the_same_data_is_refused() {
    let world = World::new().await;
    let refused = world.second().await.err().expect("it must not start");
    assert!(refused.is_running_already(), "{}", refused.chain());
    let credential = world.pay(get("/v1/reading")).await;
    let reply = world.ask(paid(get("/v1/reading"), &credential)).await;
    reply.assert_paid();
    world.admin("/v1/books").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_key_and_secrets_files_are_named_without_their_content() {
    let mut world = World::new().await;
    world.stop().await;
    for path in [
        world.secret_file(),
        world.config.payee_key_file(),
        world.config.issuer_key_file(),
    ] {
        let good = std::fs::read(&path).unwrap();
        for bad in [&b"hunter2-hunter2"[..], b"", b"\xff\xfe"] {
            std::fs::write(&path, bad).unwrap();
            let refused = world.second().await.err().expect("it must not start");
            let told = refused.chain();
            assert!(told.contains(path.to_str().unwrap()), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        std::fs::remove_file(&path).unwrap();
        let told = world.second().await.err().expect("no file").chain();
        assert!(told.contains("stiver init"), "{told}");
        std::fs::write(&path, good).unwrap();
    }
    world.start().await;
    world.challenge(get("/v1/reading")).await;
}
